"""A GRPO step by TRL: trl_grpo.py MODEL_GGUF float32|bfloat16 NEW [STEPS] -> one JSON line. 8 prompts of 40 tokens x 8 completions of NEW tokens, transformers
generation, micro-batches of 8, no gradient checkpointing; bfloat16: weights in bfloat16 (its fastest setting). The last step counts."""
import json
import os
import resource
import sys
import tempfile
import time

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

model_file, dtype, new = sys.argv[1], sys.argv[2], int(sys.argv[3])
steps = int(sys.argv[4]) if len(sys.argv) > 4 else 2
torch.set_num_threads(2)
folder, name = os.path.split(model_file)
read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
# The trainer refuses a model that was read from a quantised file: the same weights in one that wasn't.
config = type(read.config).from_dict({key: value for key, value in read.config.to_dict().items() if key != "quantization_config"})
model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
model.load_state_dict(read.state_dict())
model = model.to(getattr(torch, dtype))
del read
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
model.generation_config.eos_token_id = None
prompts = []
for p in range(8):
    text, i = "", 0
    while len(tokenizer(text)["input_ids"]) < 40:
        text += f" {'abcdefgh'[p]}{i}"
        i += 1
    prompts.append(text)
times = []


class Clock(TrainerCallback):
    def on_step_begin(self, *arguments, **keywords):
        self.begin = time.perf_counter()

    def on_step_end(self, *arguments, **keywords):
        times.append(time.perf_counter() - self.begin)


def distinct(completions, **keywords):
    return [len(set(text)) / max(1, len(text)) for text in completions]


with tempfile.TemporaryDirectory() as out:
    config = GRPOConfig(output_dir=out, use_cpu=True, bf16=False, gradient_checkpointing=False, per_device_train_batch_size=8, gradient_accumulation_steps=8, num_generations=8,
                        max_completion_length=new, generation_kwargs={"min_new_tokens": new}, temperature=1.0, top_k=0, beta=0.0, max_steps=steps, learning_rate=1e-6,
                        report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True, optim="adamw_torch_fused")
    trainer = GRPOTrainer(model=model, reward_funcs=distinct, args=config, train_dataset=Dataset.from_dict({"prompt": prompts * steps}), processing_class=tokenizer, callbacks=[Clock()])
    trainer.train()
print(json.dumps({"step_s": times[-1], "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "new_tokens_per_s": 64 * new / times[-1]}))
