"""Run a whole study from a clone: `polysem study` under the name that scripts/study.sh calls."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from train.launch import with_process_settings

if __name__ == "__main__":
    with_process_settings()

from analyze.__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "study")
    main()
