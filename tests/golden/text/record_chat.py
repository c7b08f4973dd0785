#!/usr/bin/env python3
"""Records what transformers renders for chats, for the tests of core/text's chat templates.

Recorded with transformers 5.23.0, jinja2 3.1.6. Writes chat.json beside itself: {templates: {name: {sha256, origin}},
renderings: [{template, messages, add_generation_prompt, enable_thinking, text}]}. The templates themselves are not kept
here; put them into a folder:
  smollm2.jinja   the tokenizer.chat_template of SmolLM2-135M-Instruct.Q4_1.gguf (or pass --gguf)
  qwen2.5.jinja   chat_template of tokenizer_config.json of Qwen/Qwen2.5-0.5B-Instruct
  qwen3_a.jinja   chat_template of tokenizer_config.json of Qwen/Qwen3-0.6B (first release)
  qwen3_b.jinja   the same, later revision (content may be other than a string)
  llama3.jinja    chat_template of tokenizer_config.json of meta-llama/Meta-Llama-3-8B-Instruct (revised generation prompt)
chatml is restated here: the family has no single original. The recording here was made from the GGUF and from public
copies of the other four, not from the model repositories: the qwen2.5 copy had another generation prompt, put back by
hand to "<|im_start|>assistant\\n"; qwen3_a was transcribed with LF line ends. Compare the SHA-256 before relying on them.
    record_chat.py --templates FOLDER [--gguf models/SmolLM2-135M-Instruct.Q4_1.gguf]
"""
import argparse
import hashlib
import json
import os

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
USER = {"role": "user", "content": "What is 2 + 2?"}
PLAIN = [
    [USER],
    [{"role": "system", "content": "Be brief."}, USER],
    [USER, {"role": "assistant", "content": "4"}, {"role": "user", "content": " and 3 + 3? \n"}],
    [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
    [USER, {"role": "assistant", "content": "\n\n 4 \t"}],
    [USER, {"role": "system", "content": "Late."}, {"role": "assistant", "content": "ok"}, USER],
    [{"role": "user", "content": "\u00a0\u3000gr\u00fc\u00df dich \U0001f600\x1c\u2003"}, {"role": "assistant", "content": "<|im_end|>"}],
]
THOUGHTS = [
    [USER, {"role": "assistant", "content": "<think>\nadd them\n</think>\n\n4"}, {"role": "user", "content": "sure?"}],
    [USER, {"role": "assistant", "content": "<think>\nadd them\n</think>\n\n4"}],
    [USER, {"role": "assistant", "content": "no tag</think>4</think>\n5"}],
    [USER, {"role": "assistant", "content": "<think>a</think>x"}, {"role": "assistant", "content": "y"}],
    [USER, {"role": "assistant", "content": "x"}, {"role": "assistant", "content": "\ny"}],
    [{"role": "assistant", "content": "<think>\n\n</think>\n\nhello"}],
    [{"role": "system", "content": "s"}, {"role": "system", "content": "t"}, {"role": "assistant", "content": "<think>"}],
]
TOOLS = [
    [USER, {"role": "assistant", "content": "calling"}, {"role": "tool", "content": "4"}],
    [USER, {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}, {"role": "assistant", "content": "<think>\nt\n</think>\n\n3"}],
    [USER, {"role": "user", "content": "<tool_response>\n4\n</tool_response>"}, {"role": "assistant", "content": "<think>q</think>4"}],
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", required=True)
    parser.add_argument("--gguf")
    args = parser.parse_args()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token="<|begin_of_text|>")
    out = {"templates": {}, "renderings": []}
    for name in ["chatml", "smollm2", "qwen2.5", "qwen3_a", "qwen3_b", "llama3"]:
        if name == "chatml":
            template, origin = CHATML, "restated in record_chat.py"
        elif name == "smollm2" and args.gguf:
            import gguf
            template = gguf.GGUFReader(args.gguf).fields["tokenizer.chat_template"].contents()
            origin = "the model's GGUF"
        else:
            with open(os.path.join(args.templates, name + ".jinja"), encoding="utf-8", newline="") as file:
                template, origin = file.read(), "a public copy, see record_chat.py"
        out["templates"][name] = {"sha256": hashlib.sha256(template.encode()).hexdigest(), "origin": origin}
        chats = PLAIN + (THOUGHTS + TOOLS if name.startswith("qwen") else [])
        for messages in chats:
            for prompt in (True, False):
                for thinking in ((True, False) if name.startswith("qwen3") else (True,)):
                    text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False,
                                                         add_generation_prompt=prompt, enable_thinking=thinking)
                    out["renderings"].append({"template": name.split("_")[0], "messages": messages,
                                              "add_generation_prompt": prompt, "enable_thinking": thinking, "text": text})
    with open(os.path.join(HERE, "chat.json"), "w", encoding="utf-8") as file:
        json.dump(out, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
