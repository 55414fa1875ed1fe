"""`pellucid web`: the live page. `command` starts it, `server` listens, `gate` lets in, `api` answers, `hub` keeps what is shown, `jobs` runs what costs."""
