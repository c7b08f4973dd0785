"""Records the layout of the plugin ABI: one line a field, "struct.field offset size", from a C compiler.

    python3 tests/golden/abi/record.py sdk/include > tests/golden/abi/layout_0_1.txt

Run it only when the minor version grows, into a new file: a recorded layout stays a prefix of every later one.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

include = pathlib.Path(sys.argv[1]).resolve()
lines = []
for header in ("plugin.h", "reward.h"):
    text = re.sub(r"/\*.*?\*/", "", (include / "volery/abi" / header).read_text(), flags=re.S)
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\n\} \w+;", text, flags=re.S):
        for field in body.split(";"):
            found = re.search(r"\(\*(\w+)\)", field) or re.search(r"(\w+)\s*$", field.strip())
            if found:
                lines.append((name, found.group(1)))
        lines.append((name, None))

program = "#include <stddef.h>\n#include <stdio.h>\n#include \"volery/abi/reward.h\"\nint main(void) {\n"
for name, field in lines:
    if field is None:
        program += f'  printf("{name} size %zu\\n", sizeof({name}));\n'
    else:
        program += f'  printf("{name}.{field} %zu %zu\\n", offsetof({name}, {field}), sizeof((({name}*)0)->{field}));\n'
program += "  return 0;\n}\n"

with tempfile.TemporaryDirectory() as folder:
    source = pathlib.Path(folder) / "layout.c"
    source.write_text(program)
    binary = source.with_suffix("")
    subprocess.run(["gcc", f"-I{include}", str(source), "-o", str(binary)], check=True)
    sys.stdout.write(subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout)
