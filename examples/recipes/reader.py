"""Opens a file and keeps it open. Usage: reader.py FILE"""

import sys

file = open(sys.argv[1])
input("Press Enter to continue...")
