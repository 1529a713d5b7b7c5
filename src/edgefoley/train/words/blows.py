"""What hits what: "a drumstick taps on an iron railing", 有人用棍子敲打木桌.

The concept table's phrases name a kind of blow ("metal clang"); people who look at a picture name the tool
and the thing. Both follow from the materials, so these clauses claim no more than the facts do. Left out:
things whose sound their material does not tell (a drum is no "plastic").
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edgefoley.train.scenes.motion import pick

# Concepts that are a blow on a material and nothing more.
BLOWS: Final = ("wood_hit", "metal_hit", "stone_hit", "dirt_hit", "plastic_hit", "soft_hit")

TOOLS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "wood": ("a drumstick", "a stick", "a wooden stick", "a mallet", "a broom handle", "a cane"),
        "metal": ("a metal rod", "a wrench", "a hammer", "an iron bar", "a spoon"),
        "plastic": ("a plastic pipe", "a ruler", "a toy bat"),
        "stone": ("a rock", "a stone", "a brick"),
        "concrete": ("a lump of concrete",),
        "earth": ("a clod of earth",),
        "cloth": ("a glove", "a rolled-up towel"),
        "flesh": ("a hand", "someone", "a fist", "a palm"),
    },
    "zh": {
        "wood": ("鼓槌", "棍子", "木棍", "木槌", "扫帚柄", "拐杖"),
        "metal": ("铁棍", "扳手", "锤子", "金属棒", "勺子"),
        "plastic": ("塑料管", "尺子", "玩具球棒"),
        "stone": ("石头", "石块", "砖头"),
        "concrete": ("水泥块",),
        "earth": ("土块",),
        "cloth": ("手套", "卷起的毛巾"),
        "flesh": ("手", "拳头", "手掌"),
    },
}
THINGS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "wood": ("a wooden table", "a wooden desk", "a wooden door", "a wooden crate", "a wooden fence",
                 "a wooden post", "a wooden floor", "a wooden partition", "a wooden bench"),
        "metal": ("a metal railing", "an iron pipe", "a steel panel", "a metal cabinet", "a metal sign",
                  "an iron gate", "a metal radiator", "a tin can", "a steel fountain"),
        "stone": ("a stone wall", "a brick wall", "a rock", "a marble bench", "a stone step",
                  "a granite slab"),
        "concrete": ("a concrete wall", "the asphalt", "the pavement", "a concrete floor",
                     "a concrete block"),
        "plastic": ("a plastic bucket", "a plastic bin", "a plastic chair", "a plastic box",
                    "a plastic bottle"),
        "cloth": ("a cloth cushion", "a cloth jacket on a chair", "a leather armchair", "a cloth bag",
                  "a carpet", "a cloth sofa"),
        "paper": ("a cardboard box", "a stack of paper", "a cardboard tube", "crumpled paper"),
        "earth": ("the dirt", "the soil", "the earth in a flower bed", "a dirt path"),
        "flesh": ("bare skin",),
    },
    "zh": {
        "wood": ("木桌", "木头书桌", "木门", "木箱", "木栅栏", "木头树干", "木地板", "木隔板", "木长椅"),
        "metal": ("金属栏杆", "铁管", "钢板", "铁皮柜", "金属牌子", "铁门", "金属暖气片",
                  "铁罐", "不锈钢台面"),
        "stone": ("石墙", "砖墙", "岩石", "大理石长凳", "石台阶", "石板"),
        "concrete": ("水泥墙", "柏油路面", "人行道", "水泥地", "水泥墩"),
        "plastic": ("塑料桶", "塑料垃圾桶", "塑料椅子", "塑料盒", "塑料瓶"),
        "cloth": ("布垫子", "椅子上的布外套", "皮革座椅", "布包", "地毯", "布椅子"),
        "paper": ("纸箱", "一叠纸", "纸筒", "揉皱的纸"),
        "earth": ("泥土", "泥地", "花坛里的泥土", "泥土路"),
        "flesh": ("皮肤",),
    },
}  # fmt: skip
VERBS: Final = {
    "en": ("hits", "taps", "taps on", "strikes", "knocks on", "raps", "beats", "bangs on", "hitting",
           "tapping on", "striking"),
    "zh": ("敲", "敲打", "敲击", "拍打", "打"),
}  # fmt: skip


def blow(striker: str, struck: str, language: str, rng: np.random.Generator) -> str:
    """A clause that names tool and thing; "" where either material has no word here. ``language``: "en" or
    "zh"."""
    tools, things = TOOLS[language].get(striker, ()), THINGS[language].get(struck, ())
    if not tools or not things:
        return ""
    tool, thing, verb = (pick(rng, *words) for words in (tools, things, VERBS[language]))
    if language == "en":
        return f"{tool} {verb} {thing}"
    return f"有人用{tool}{verb}{thing}" if rng.random() < 0.5 else f"{tool}{verb}在{thing}上"
