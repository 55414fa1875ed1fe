"""Ways to compute a model's predictions, each used only after it was proved equal on stored rows.

    pipeline   the model's own predict, always right
    exact      the pipeline's transformers, then a direct sum of the trees: bit-equal
    onnx       the pipeline's transformers, then onnxruntime: equal labels, scores that differ by no more than the proof says

`pipeline.py`, `exact.py`, `onnx.py` have one class each; `choice.py` proves them at registration and chooses one when a model is loaded.
"""
