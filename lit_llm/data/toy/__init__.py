"""A corpus from nothing: a small seeded world, and texts about it that teach something true.

``world`` invents people, places, organisations, films and events whose facts compose.
``documents`` tells them in unlabelled stories, ``ner`` and ``reviews`` make two labelled tasks
whose best possible score is known exactly, and ``baselines`` puts simple methods beside it.

Everything is a pure function of explicit integer seeds: the same bytes on every platform and in
every process. Names come from one syllable grammar, so their spelling says nothing of their type;
the verbs and sentence frames are written by hand.
"""
