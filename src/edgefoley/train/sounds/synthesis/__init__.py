"""Sounds computed from physics for classes of which few recordings may be used.

Bodies that ring (``modal``), break (``fragments``), are trodden on (``steps``), liquids (``liquid``), rubbing
(``friction``), moving air and fire (``air``), small mechanisms (``mechanism``), things that rotate
(``rotation``), tones (``tones``); ``catalog`` names them by the concepts of ``train.words``. Everything is
dry: rooms are the mixer's business.
"""
