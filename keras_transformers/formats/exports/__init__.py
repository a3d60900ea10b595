"""Models as graphs for other runtimes: SavedModel, ONNX, OpenVINO, LiteRT and PyTorch's exported programs."""
