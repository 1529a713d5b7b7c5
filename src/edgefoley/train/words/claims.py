"""Words that claim a fact, and which of them a sound supports.

"Twice", "softly", "in the distance" and "on stone" are only true of some sounds. This table is the one owner
of such words: captions take them from here when the facts support them, and every phrase of the concept
table is searched for them before it is used, so that a caption never says more than the scene shows. Words
are matched longest first, and a matched stretch is not read twice (水泥 is concrete and no water). What is
left out: anything else that a phrase may imply (a dog's size, the time of day).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from edgefoley.train.scenes.truth import MATERIALS
from edgefoley.train.words.concepts import LANGUAGES, load_concepts

ROOMS: Final = ("", "small room", "room", "hall", "outdoors")
SOFT, HARD = 0.3, 0.7  # strengths below and above which a listener would say so
NEAR_M, FAR_M = 2.0, 8.0
SLOW_HZ, FAST_HZ = 0.8, 3.0

# claim -> what to say, best first. Each entry fits behind a comma at the end of a clause.
SAY: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "once": ("once", "just once", "a single time"),
        "twice": ("twice", "two times"),
        "three": ("three times",),
        "four": ("four times",),
        "five": ("five times",),
        "several": ("several times", "a few times"),
        "many": ("again and again", "over and over", "many times", "repeatedly"),
        "continuous": ("continuously", "without a pause", "on and on", "the whole time"),
        "slow": ("slowly", "at a slow pace", "unhurriedly"),
        "fast": ("in quick succession", "rapidly", "at a fast pace"),
        "soft": ("softly", "gently", "quietly", "faintly", "very lightly"),
        "hard": ("loudly", "violently", "with great force", "forcefully"),
        "near": ("close up", "close by", "right next to the camera", "very near"),
        "far": ("in the distance", "far away", "a long way off"),
        "small room": ("in a small room", "in a tiny room"),
        "room": ("in a room", "indoors"),
        "hall": ("echoing in a hall", "in a large hall", "echoing through a big empty hall"),
        "outdoors": ("outdoors", "outside", "in the open air"),
    },
    "zh": {
        "once": ("只响了一下", "就一下", "仅一次"),
        "twice": ("响了两下", "一共两次", "前后两声"),
        "three": ("响了三下", "一共三次", "接连三声"),
        "four": ("响了四下", "一共四次"),
        "five": ("响了五下", "一共五次"),
        "several": ("好几下", "响了好几次", "接连数声"),
        "many": ("一下接一下", "反复响起", "一遍又一遍", "响个不停"),
        "continuous": ("持续不断", "一直没有停", "连绵不绝"),
        "slow": ("节奏缓慢", "不紧不慢", "慢悠悠的"),
        "fast": ("节奏急促", "又快又密", "间隔很短"),
        "soft": ("轻轻的", "声音很轻", "十分轻柔", "动静很小"),
        "hard": ("声音很大", "响声很猛", "十分猛烈", "震耳欲聋"),
        "near": ("近在耳边", "离镜头很近", "近距离"),
        "far": ("在远处", "离得很远", "从远方传来"),
        "small room": ("在小房间里", "在狭小的屋子里"),
        "room": ("在房间里", "在室内"),
        "hall": ("在大厅里回荡", "空旷的大厅里带着回声"),
        "outdoors": ("在户外", "在室外", "在露天的地方"),
    },
}

# The same of feet, where steps are counted and not "times".
SAY_STEPS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "once": ("a single step", "one step"),
        "twice": ("two steps",),
        "three": ("three steps",),
        "four": ("four steps",),
        "five": ("five steps",),
        "several": ("a few steps", "several steps"),
        "many": ("step after step", "many steps"),
    },
    "zh": {
        "once": ("只走了一步", "就一步"),
        "twice": ("走了两步",),
        "three": ("走了三步",),
        "four": ("走了四步",),
        "five": ("走了五步",),
        "several": ("走了好几步", "走了几步"),
        "many": ("一步接一步", "走了许多步"),
    },
}

# Adjectives in front of a bare noun, and what stands in front of a Chinese clause.
BEFORE: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "soft": ("soft", "gentle", "faint", "quiet"),
        "hard": ("loud", "violent", "powerful"),
        "near": ("nearby", "close-up"),
        "far": ("distant", "faraway"),
        "once": ("a single",),
        "many": ("repeated",),
        "continuous": ("continuous", "steady"),
        "slow": ("slow",),
        "fast": ("rapid", "fast"),
        "hall": ("echoing",),
    },
    "zh": {
        "soft": ("轻轻的", "轻柔的", "微弱的"),
        "hard": ("响亮的", "猛烈的", "巨大的"),
        "near": ("近处的", "耳边的"),
        "far": ("远处的", "远方的"),
        "once": ("一声",),
        "many": ("反复的",),
        "continuous": ("持续的", "连续不断的"),
        "slow": ("缓慢的",),
        "fast": ("急促的",),
        "hall": ("回荡的",),
    },
}

# Further words that claim the same when a phrase of the table holds them.
_ALSO: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "once": ("one time", "only once", "single"),
        "twice": ("double",),
        "three": ("thrice", "triple"),
        "many": ("repeatedly", "time after time", "relentlessly", "incessantly", "non-stop", "nonstop"),
        "continuous": ("constantly", "ceaselessly", "unbroken", "endless", "endlessly"),
        "slow": ("slow", "leisurely", "lazily", "steadily"),
        "fast": ("fast", "quickly", "quick", "swiftly", "hurriedly", "frantically", "frantic"),
        "soft": (
            "soft", "gentle", "quiet", "faint", "lightly", "light", "tiny", "weak", "hushed", "delicate",
            "delicately", "dull", "muffled",
        ),
        "hard": (
            "loud", "hard", "heavy", "heavily", "furious", "furiously", "powerful", "fierce", "fiercely",
            "deafening", "mighty", "huge", "massive", "thunderous", "ear-splitting", "roughly", "violent",
        ),
        "near": ("close-up", "nearby", "near the microphone", "next to the microphone"),
        "far": ("distant", "distance", "far off", "far-off", "from afar", "faraway", "miles away"),
        "hall": ("hall", "echo", "echoes", "echoing", "cathedral", "church", "cave", "tunnel", "gym"),
        "outdoors": ("in the yard", "in the street", "in the field", "in the park", "in the garden"),
        "room": ("in the kitchen", "in the bedroom", "in the office", "in the house", "living room"),
        "small room": ("closet", "cupboard", "bathroom"),
    },
    "zh": {
        "once": ("一下", "一声", "一次"),
        "twice": ("两下", "两声", "两次"),
        "three": ("三下", "三声", "三次"),
        "four": ("四下", "四声"),
        "five": ("五下", "五声"),
        "several": ("几下", "几声", "几次", "数声"),
        "many": ("不停", "反复", "一声接一声", "一声声", "接连", "连连", "阵阵", "没完没了", "此起彼伏"),
        "continuous": ("不断", "持续", "连续", "一直", "不绝"),
        "slow": ("缓慢", "慢慢", "缓缓", "悠悠", "慢吞吞", "慢条斯理"),
        "fast": ("急促", "飞快", "快速", "急匆匆", "迅速", "匆匆"),
        "soft": ("轻", "微弱", "细微", "低声", "悄悄", "小声", "隐约", "沉闷", "闷"),
        "hard": (
            "用力", "重重", "狠狠", "猛", "巨大", "巨响", "响亮", "大声", "剧烈", "沉重", "震天", "高声",
            "使劲", "轰然", "狂",
        ),
        "near": ("近处", "耳边", "近旁", "跟前"),
        "far": ("远处", "远方", "远远", "遥远"),
        "hall": ("大厅", "回荡", "回声", "回响", "教堂", "山洞", "隧道", "礼堂"),
        "outdoors": ("户外", "室外", "野外", "院子里", "街上", "田野", "露天", "马路", "公园", "操场"),
        "room": ("室内", "房间", "屋里", "厨房", "卧室", "客厅", "办公室", "教室"),
        "small room": ("小房间", "浴室", "柜子里", "卫生间"),
    },
}  # fmt: skip

# What materials are called; the first name of each pair of tuples is used, all are recognised.
MATERIAL_WORDS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "wood": ("wood", "a wooden board", "wooden", "timber", "plank", "planks", "oak", "pine",
                 "floorboards"),
        "metal": ("metal", "steel", "iron", "tin", "brass", "copper", "aluminium", "sheet metal"),
        "glass": ("glass",),
        "ceramic": ("ceramic", "porcelain", "china", "clay", "crockery"),
        "stone": (
            "stone", "rock", "stones", "rocks", "marble", "granite", "cobblestones", "cobbles", "pebbles",
            "flagstones", "brick", "slate",
        ),
        "concrete": ("concrete", "asphalt", "cement", "pavement", "sidewalk", "tarmac"),
        "plastic": ("plastic",),
        "rubber": ("rubber",),
        "cloth": ("cloth", "fabric", "carpet", "rug", "cotton", "linen", "velvet", "leather"),
        "paper": ("paper", "cardboard", "newspaper"),
        "flesh": ("skin", "flesh"),
        "earth": ("dirt", "earth", "soil", "mud"),
        "grass": ("grass", "lawn", "meadow", "hay", "straw"),
        "gravel": ("gravel", "shingle"),
        "sand": ("sand", "beach"),
        "snow": ("snow",),
        "leaves": ("leaves", "dry leaves", "foliage", "leaf"),
        "ice": ("ice", "icy"),
        "water": ("water", "puddle", "puddles"),
    },
    "zh": {
        "wood": ("木头", "木板", "木"),
        "metal": ("金属", "铁皮", "铁", "钢", "铜", "铝", "锡"),
        "glass": ("玻璃",),
        "ceramic": ("陶瓷", "瓷器", "瓷砖", "瓷", "陶"),
        "stone": ("石头", "石板", "岩石", "大理石", "鹅卵石", "石", "砖", "岩"),
        "concrete": ("水泥地", "混凝土", "水泥", "柏油", "沥青", "人行道"),
        "plastic": ("塑料",),
        "rubber": ("橡胶", "橡皮"),
        "cloth": ("布料", "地毯", "布", "棉", "毛毯", "皮革"),
        "paper": ("纸", "纸板", "报纸"),
        "flesh": ("皮肉", "皮肤"),
        "earth": ("泥土", "泥地", "土", "泥"),
        "grass": ("草地", "草坪", "草", "稻草"),
        "gravel": ("砾石", "碎石", "石子", "石子路"),
        "sand": ("沙子", "沙滩", "沙地", "沙", "砂"),
        "snow": ("积雪", "雪地", "雪"),
        "leaves": ("落叶", "枯叶", "树叶", "叶子", "叶"),
        "ice": ("冰面", "冰"),
        "water": ("水面", "水洼", "水坑", "水"),
    },
}  # fmt: skip

# Stretches that look like a claim and are none.
_INNOCENT: Final[dict[str, tuple[str, ...]]] = {
    "en": ("outside the picture", "all at once", "at once", "light switch", "hard drive", "soft toy",
           "soft drink", "fast food", "light rain", "train tunnel", "ice cream", "rock band", "rock music",
           "sandpaper", "water pistol"),
    "zh": ("沙沙", "沙哑", "水果", "冰淇淋", "冰激凌", "布谷", "木鱼", "钢琴", "口哨", "水泥车", "草原",
           "轻快", "猛兽", "狂欢", "冰箱", "岩浆", "年轻", "轻型", "轻骑", "沙锤", "铁路", "地铁", "铜管"),
}  # fmt: skip


@dataclass(frozen=True)
class SoundFact:
    """One sound of a scene. `concept`: id in the concept table; `count` of its contacts (0: continuous, -1:
    not known); `strength` 0..1 (nan: not known); `rate_hz` contacts per second (0: not known); `distance_m`
    from the camera (nan: not known); `onscreen`: whether its source is seen; `striker`, `struck`: MATERIALS
    or ""."""

    concept: str
    count: int = -1
    strength: float = float("nan")
    rate_hz: float = 0.0
    distance_m: float = float("nan")
    onscreen: bool = True
    striker: str = ""
    struck: str = ""

    def __post_init__(self) -> None:
        for material in (self.striker, self.struck):
            if material and material not in MATERIALS:
                raise ValueError(f"unknown material {material!r}; known: {', '.join(MATERIALS)}")


def supported(fact: SoundFact, room: str) -> frozenset[str]:
    """Every claim that is true of a sound in `room` (one of ROOMS); materials are claims by their names."""
    if room not in ROOMS:
        raise ValueError(f"unknown room {room!r}; known: {', '.join(ROOMS)}")
    count = fact.count
    true = {0: {"continuous", "many"}, 1: {"once"}, 2: {"twice"}, 3: {"three"}, 4: {"four"}, 5: {"five"}}.get(
        count, set()
    )
    true |= {"several"} if 3 <= count <= 12 else set()
    true |= {"many"} if count >= 5 else set()
    true |= {"slow"} if count >= 2 and 0 < fact.rate_hz < SLOW_HZ else set()
    true |= {"fast"} if count >= 2 and fact.rate_hz > FAST_HZ else set()
    true |= {"soft"} if fact.strength < SOFT else {"hard"} if fact.strength > HARD else set()
    true |= {"near"} if fact.distance_m < NEAR_M else {"far"} if fact.distance_m > FAR_M else set()
    true |= {room} if room else set()
    true |= {"room"} if room == "small room" else set()
    return frozenset(true | ({fact.striker, fact.struck} - {""}))


@lru_cache(maxsize=2)
def _words(language: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """One pattern of all claiming words, longest first, and what each claims ("" for none)."""
    meaning: dict[str, str] = dict.fromkeys(_INNOCENT[language], "")
    for table in (MATERIAL_WORDS, _ALSO, BEFORE, SAY_STEPS, SAY):
        for claim, words in table[language].items():
            meaning.update(dict.fromkeys(words, claim))
    ordered = "|".join(re.escape(word) for word in sorted(meaning, key=len, reverse=True))
    return re.compile(rf"\b(?:{ordered})\b" if language == "en" else f"(?:{ordered})"), meaning


@lru_cache(maxsize=1 << 16)
def claims(text: str, language: str) -> frozenset[str]:
    """What `text` claims: names of counts, tempo, force, distance, room and MATERIALS.

    ValueError for an unknown language."""
    if language not in LANGUAGES:
        raise ValueError(f"unknown language {language!r}; known: {', '.join(LANGUAGES)}")
    pattern, meaning = _words(language)
    return frozenset(meaning[word] for word in pattern.findall(text.lower())) - {""}


@lru_cache(maxsize=1)
def inherent() -> dict[str, frozenset[str]]:
    """Claims that a concept's bare nouns make in either language: they are its name, whatever the facts."""
    return {
        concept.id: frozenset().union(
            *(claims(noun, language) for language in LANGUAGES for noun in concept.phrases(language)[:2])
        )
        for concept in load_concepts()
    }


def agrees(text: str, language: str, fact: SoundFact, room: str) -> bool:
    """Whether `text` claims nothing that the facts do not support. Materials may be named freely where the
    facts know none."""
    said = claims(text, language) - inherent().get(fact.concept, frozenset())
    if not fact.striker and not fact.struck:
        said -= frozenset(MATERIALS)
    return said <= supported(fact, room)
