"""The model server: training, the store of models, supervised workers, and the incidents that say what happened to one.

    pellucid train loan   →  training  →  package  →  store (content-addressed, on disk)
    pellucid serve loan   →  supervisor (small; decides by state.py)  →  template (loads, verifies)  →  workers (HTTP)

It runs without any privilege: what a look from outside can't see is said in the incident, and the service goes on.
"""
