"""junit.py FILE [AGAIN]: the counts of a pytest run, and what failed or was skipped
and why. AGAIN is a second run of what failed in the first: what passed there counts
as passed and is named as such.
"""

import os
import sys
import xml.etree.ElementTree as ElementTree


def verdicts(path):
    """(verdict, name with the reason) of each test by its name."""
    found = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        verdict, text = "passed", name
        for child in case:
            if child.tag in ("failure", "error"):
                verdict = "failed"
            elif child.tag == "skipped" and verdict == "passed":
                verdict = "skipped"
                text += ": " + (child.get("message") or "")
        if found.get(name, ("",))[0] != "failed":
            found[name] = verdict, " ".join(text.split())
    return found


first = verdicts(sys.argv[1])
again = verdicts(sys.argv[2]) if len(sys.argv) > 2 and os.path.exists(sys.argv[2]) else {}
counts = {"passed": 0, "failed": 0, "skipped": 0}
lines = []
for name, (verdict, text) in first.items():
    if verdict == "failed" and again.get(name, ("",))[0] == "passed":
        verdict = "passed"
        lines.append(f"second\t{text}")
    counts[verdict] += 1
    if verdict != "passed":
        lines.append(f"{verdict}\t{text}")
print("counts\t{passed} {failed} {skipped}".format(**counts))
print("\n".join(lines))
