"""pellucid on another machine: an agent that runs commands there, and the client behind `--host NAME`.

`protocol` frames and proof · `policy` what may be asked · `identity` the agent's certificate · `tokens` who may ask · `server` the agent ·
`started` a command, as a process of its own · `hosts` the agents that this machine knows · `client` one command on another machine · `command` the command line.
"""
