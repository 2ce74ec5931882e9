"""junit.py FILE: the counts of a pytest run, and what failed or was skipped and why."""

import sys
import xml.etree.ElementTree as ElementTree

counts = {"passed": 0, "failed": 0, "skipped": 0}
lines = []
for case in ElementTree.parse(sys.argv[1]).getroot().iter("testcase"):
    name = f"{case.get('classname')}.{case.get('name')}"
    verdict = "passed"
    for child in case:
        if child.tag in ("failure", "error"):
            verdict = "failed"
        elif child.tag == "skipped" and verdict == "passed":
            verdict = "skipped"
            name += ": " + (child.get("message") or "")
    counts[verdict] += 1
    if verdict != "passed":
        lines.append(f"{verdict}\t" + " ".join(name.split()))
print("counts\t{passed} {failed} {skipped}".format(**counts))
print("\n".join(lines))
