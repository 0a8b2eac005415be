"""Two runs of the same trials: is one slower, does it compute something else, does it score worse? Level 6.

    timing.py   ratios of times: slower, faster, not significant, inconclusive
    facts.py    what must be equal to the last bit        scores.py   scores against the reference's seeds
    folders.py  two folders of results                    result.py   one line a question, and the exit code
    written.py  terminal, JUnit XML, GitHub summary, JSON

harness/compare/against.py runs both revisions in turn on this machine and asks the same questions.
"""
