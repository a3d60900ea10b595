"""Models as graphs for other runtimes: SavedModel, ONNX, OpenVINO and PyTorch's exported programs."""
