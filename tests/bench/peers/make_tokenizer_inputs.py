"""What the tokenizer table reads: make_tokenizer_inputs.py MODEL_GGUF FOLDER -> qwen.json, smollm2.json, sources.jsonl, scripts.jsonl.

qwen.json: Qwen's vocabulary (from the wheel dashscope); smollm2.json: the model file's. Texts, a JSON string a line, composed (NFC: tiktoken doesn't
compose): `sources` are the repository's own files, English prose and code; `scripts` are random words of many scripts, emoji, marks and spaces by
tests/golden/text/texts.py, no language's real text. Left out: texts that spell an added token and characters that Python's Unicode tables don't know.
"""
import json
import pathlib
import sys
import unicodedata

SOURCE = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(SOURCE / "tests/golden/text"))
import make_qwen_tokenizer
import record
import texts

model, folder = sys.argv[1], pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
qwen = json.dumps(make_qwen_tokenizer.build(make_qwen_tokenizer.read_ranks(None)), ensure_ascii=False)
(folder / "qwen.json").write_text(qwen, encoding="utf-8")
record.smollm2(model).save(str(folder / "smollm2.json"))
added = {token["content"] for name in ("qwen", "smollm2") for token in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["added_tokens"]}


def plain(text):
    for token in added if any(token in text for token in added) else ():
        text = text.replace(token, "")
    known = "".join(c for c in text if unicodedata.category(c) not in ("Cn", "Co"))
    return unicodedata.normalize("NFC", known)


def write(name, samples):
    kept = [text for text in samples if text and not any(token in text for token in added)]
    (folder / name).write_text("".join(json.dumps(text) + "\n" for text in kept), encoding="utf-8")


write("sources.jsonl", (unicodedata.normalize("NFC", text) for text in texts.tree_texts(SOURCE)))
write("scripts.jsonl", (plain(texts.mixed(seed, 4096)) for seed in range(250)))
