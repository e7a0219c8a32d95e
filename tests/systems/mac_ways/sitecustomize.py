"""What a Mac lacks is taken from each Python that finds this on its PYTHONPATH: /proc, a boot id, and, as before Python 3.13, os.waitid."""
from __future__ import annotations

import os
import os.path

vars(os).pop("waitid", None)
_is_folder = os.path.isdir
os.path.isdir = lambda s: s != "/proc/self" and _is_folder(s)
