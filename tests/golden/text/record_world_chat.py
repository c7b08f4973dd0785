#!/usr/bin/env python3
"""Records what transformers renders for RWKV World chats, for the tests of core/text's chat templates.

Recorded with transformers 5.23.0, jinja2 3.1.6. Writes world_chat.json beside itself: {exported, published, renderings:
[{template, messages, add_generation_prompt, text}]}. Two templates:
  exported   the one that volery writes into folders, restated here: contents are cleaned
  published  the one of Hugging Face RWKV folders: id 0's name in front, contents as they are. Put together from public
             copies of its parts, not from the model repositories: later folders (RWKV-7) have it with thoughts behind
             "Assistant:", which is another format and not known as rwkv-world
    record_world_chat.py
"""
import json
import os

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
EXPORTED = ("{% for message in messages %}{{ message['role'] | capitalize + ': ' + message['content'].replace('\\r\\n', '\\n').split('\\n') | select"
            " | join('\\n') | trim + '\\n\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")
TURN = "{%% %s message['role'] == '%s' %%}{{'%s: ' + message['content'] + '\\n\\n'}}"
PUBLISHED = ("{{ '<|rwkv_tokenizer_end_of_text|>' }}{% for message in messages %}" + TURN % ("if", "user", "User") + TURN % ("elif", "system", "System")
             + TURN % ("elif", "assistant", "Assistant") + "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")
USER = {"role": "user", "content": "What is 2 + 2?"}
CLEAN = [
    [USER],
    [{"role": "system", "content": "Be brief."}, USER],
    [USER, {"role": "assistant", "content": "4"}, {"role": "user", "content": "and 3 + 3?"}],
    [USER, {"role": "assistant", "content": "First line.\nSecond\tline.\n \nThird."}],
    [{"role": "user", "content": "gr\u00fc\u00df dich \U0001f600"}, {"role": "assistant", "content": "User: no"}, USER],
]
MESSY = [
    [{"role": "user", "content": "a\r\nb\r\n\r\nc\n\n\n\nd"}],
    [{"role": "user", "content": " \n\n x \n\n"}, {"role": "assistant", "content": "\n\n 4 \t"}, USER],
    [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
    [{"role": "user", "content": "\u00a0\u3000a\u2003\x1c"}, {"role": "assistant", "content": "\r\n"}],
    [{"role": "user", "content": "a\n\r\n\rb\r\r\nc\n \n\nd"}],
    [{"role": "user", "content": "x\n\nUser: y\n\nAssistant: z"}],
]


def main():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    renderings = []
    for name, template, chats in (("exported", EXPORTED, CLEAN + MESSY), ("published", PUBLISHED, CLEAN)):
        for messages in chats:
            for prompt in (True, False):
                text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=prompt)
                renderings.append({"template": name, "messages": messages, "add_generation_prompt": prompt, "text": text})
    with open(os.path.join(HERE, "world_chat.json"), "w", encoding="utf-8") as file:
        json.dump({"exported": EXPORTED, "published": PUBLISHED, "renderings": renderings}, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
