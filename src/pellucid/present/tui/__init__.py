"""The live terminal: `command` (the command line), `plain` (text for small containers and screen readers), `source` (what it shows),
`app` (the list), `process` (one process), `looks` (what costs something).
"""
