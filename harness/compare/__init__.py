"""Two runs of the same trials: is one slower, does it compute something else, does it score worse?

    against.py  a revision and this tree in turn: sides.py (trees and processes), rounds.py (what runs in them)
    folders.py  two folders of results              apart.py    what keeps two folders apart, by name
    timing.py   ratios of times in turn: slower, faster, not significant, inconclusive
    clock.py    times of two runs, by how far they wavered
    facts.py    what must be equal to the last bit
    scores.py   scores against the reference's seeds        variants.py  over as many seeds as it takes
    names.py    short names, each its own           result.py   one line a question, and the exit code
    written.py  terminal, JUnit XML, GitHub summary, JSON

Level 6; rounds.py alone runs where no harness is found.
"""
