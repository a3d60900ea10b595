from keras_transformers.formats.peft import load_lora as load_lora
from keras_transformers.formats.peft import save_lora as save_lora
from keras_transformers.transforms.lora import add_lora as add_lora
from keras_transformers.transforms.lora import merge_lora as merge_lora
from keras_transformers.transforms.lora import remove_lora as remove_lora
from keras_transformers.transforms.quantization import quantize as quantize
