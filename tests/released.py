"""What tests/released.sh runs: recognises a released checkpoint, measures it with volery, compares with the published figure.

Exit codes: 0 within the tolerance, or no figure to compare with; 1 outside it, or volery failed; 2 wrong input.
"""
import argparse
import array
import collections
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[1]
VOLERY = os.environ.get("VOLERY_BINARY", str(SOURCE / "build/release/bin/volery"))

# Published figures are rounded, were taken in bfloat16 or float16, and by harnesses that put another token, or none, in front
# of the text. The loss is the end of a training curve, not a measurement on the validation set.
ACCURACY_WITHIN, PERPLEXITY_WITHIN, LOSS_WITHIN = 0.02, 0.08, 0.1

PAPER = "arXiv 2407.12077, "
ABLATION, LARGE, ZERO_SHOT = PAPER + "table of the L12 D768 ablations, final loss", PAPER + "table of the 1.5B models, final loss", PAPER + "zero-shot table"
EAGLEX = "model card of RWKV/v5-EagleX-v2-7B-pth"

# `lambada`: (accuracy, perplexity or None, source); `loss`: (value, source). A missing one: none on record.
Release = collections.namedtuple("Release", "name family layers width parameters first lambada loss", defaults=(None, None))


def world(name, family, layers, width, parameters, lambada=None):
    return Release(name, family, layers, width, parameters, 0, lambada)


def minipile(name, family, layers, width, parameters, loss, source, lambada=None):
    # Its authors' harness puts "\n" (token 11) in front.
    return Release(f"L{layers}-D{width}/{name}", family, layers, width, parameters, 11, lambada, (loss, source))


# The first of a shape is what a checkpoint is taken for without --release.
RELEASES = [
    world("rwkv-5-world-0.1b", "rwkv5", 12, 768, 192807936),
    world("rwkv-5-world-0.4b", "rwkv5", 24, 1024, 461721600),
    world("rwkv-5-world-1.5b", "rwkv5", 24, 2048, 1577754624),
    world("rwkv-5-world-3b", "rwkv5", 32, 2560, 3062999040),
    world("rwkv-5-world-7b", "rwkv5", 32, 4096, 7518044160, (0.7425, None, EAGLEX + ", Eagle-7B-HF")),
    world("eaglex-7b-v1", "rwkv5", 32, 4096, 7518044160, (0.7522, None, EAGLEX + ", EagleX-7B-HF-v1")),
    world("eaglex-7b-v2", "rwkv5", 32, 4096, 7518044160, (0.7502, None, EAGLEX + ", EagleX-7B-HF-v2")),
    world("rwkv-6-world-0.1b", "rwkv6", 12, 768, 196955136),
    world("rwkv-6-world-1.6b", "rwkv6", 24, 2048, 1599873024),
    world("rwkv-6-world-3b", "rwkv6", 32, 2560, 3099863040),
    world("rwkv-6-world-3b-v2.1", "rwkv6", 32, 2560, 3099863040),
    world("rwkv-6-world-7b", "rwkv6", 32, 4096, 7635746816, (0.749, 3.299, "flash-linear-attention's evaluation of RWKV/rwkv-6-world-7b")),
    world("rwkv-6-world-7b-v3", "rwkv6", 32, 4096, 7635746816),
    world("rwkv-6-world-14b", "rwkv6", 61, 4096, 14069088256),
    minipile("goldfinch", "goldfinch", 12, 768, 186617856, 2.6582, ABLATION),
    minipile("goldfinch_rope10k", "goldfinch", 12, 768, 186617856, 2.6590, ABLATION),
    minipile("goldfinch_gold_invratio_2", "goldfinch", 12, 768, 184066560, 2.6637, ABLATION),
    minipile("goldfinch_gold_invratio_6", "goldfinch", 12, 768, 189169152, 2.6578, ABLATION),
    minipile("finchc2", "finch-c2", 12, 768, 191056896, 2.7082, ABLATION),
    minipile("finchc2_gptalpha", "finch-c2-gptalpha", 12, 768, 189883392, 2.6586, ABLATION),
    minipile("finch", "rwkv6", 12, 768, 196955136, 2.7191, ABLATION),
    minipile("gptalpha", "gptalpha", 12, 768, 187536384, 2.6684, ABLATION),
    minipile("llama", "goldfinch-llama", 12, 768, 185637888, 2.7125, ABLATION),
    minipile("goldfinch", "goldfinch", 24, 2048, 1445257216, 2.2762, LARGE, (0.291, 48.2, ZERO_SHOT)),
    Release("L24-D2048/goldfinch_1to1compression", "goldfinch", 24, 2048, None, 11),
    minipile("finch", "rwkv6", 24, 2048, 1599873024, 2.3856, LARGE, (0.243, 81.9, ZERO_SHOT)),
    minipile("llama", "goldfinch-llama", 24, 2048, 1473454080, 2.3905, LARGE, (0.263, 71.7, ZERO_SHOT)),
]

NOTES = {"L12-D768/goldfinch_rope10k": "its .pth can't say that it has positions and opens without them; bring a folder whose config.json says rope_theta 10000"}


def fail(*words, code=2):
    print("released.sh:", *words, file=sys.stderr)
    sys.exit(code)


def figures(release):
    texts = []
    if release.lambada:
        accuracy, perplexity, source = release.lambada
        texts.append(f"LAMBADA accuracy {accuracy}" + (f", perplexity {perplexity}" if perplexity else "") + f" ({source})")
    if release.loss:
        texts.append(f"loss {release.loss[0]} ({release.loss[1]})")
    return "; ".join(texts) or "none on record"


def listing():
    lines = []
    for r in RELEASES:
        shape = f"{r.family}, {r.layers} layers, width {r.width}" + (f", {r.parameters} parameters" if r.parameters else "")
        lines.append(f"  {r.name:38} {shape}: {figures(r)}")
    return "\n".join(lines)


def json_lines(text):
    return [json.loads(line) for line in text.split("\n") if line]  # a line may hold what splitlines() takes for an end


class Volery:
    """The binary with this call's options and a folder for its files."""

    def __init__(self, arguments, folder):
        self.folder, self.tokenizer = folder, arguments.tokenizer
        self.checkpoint = str(arguments.checkpoint)
        self.model = ["--model", self.checkpoint, "--tokenizer", self.tokenizer, "--dtype", arguments.dtype, "--device", arguments.device,
                      "--threads", str(arguments.threads)]

    def run(self, *words, stdin=None):
        done = subprocess.run([VOLERY, *map(str, words)], input=stdin, capture_output=True, encoding="utf-8", errors="replace")
        if done.returncode != 0:
            fail(f"volery {words[0]} ended with {done.returncode}:\n{(done.stderr or done.stdout).strip()}", code=2 if done.returncode == 2 else 1)
        return done.stdout

    def rows(self, name, key, rows):
        path = self.folder / name
        path.write_text("".join(json.dumps({key: row}) + "\n" for row in rows))
        return path

    def shape(self):
        """family, layers, width, parameters, context: what `volery plan` reports. A plan wants a text too."""
        (self.folder / "plan.txt").write_text("one two three four five six seven eight " * 8)
        (self.folder / "plan.toml").write_text('steps = 1\n[pretrain]\ncontext = 4\nsequences = 1\n[[data]]\nfile = "plan.txt"\n')
        plan = self.run("plan", self.folder / "plan.toml", f"runs={self.folder}", f"model.path={self.checkpoint}", f"model.tokenizer={self.tokenizer}")
        found = re.search(r": ([\w-]+), (\d+) layers, width (\d+), (\d+) parameters, .*context (\d+)$", plan, re.MULTILINE)
        if not found:
            fail("can't read the model's shape in what volery plan printed:\n" + plan, code=1)
        return (found[1], *map(int, found.groups()[1:]))

    def encode(self, texts):
        out = self.run("tokenize", "--tokenizer", self.tokenizer, "--no-special", stdin="".join(json.dumps({"text": t}) + "\n" for t in texts))
        return [line["ids"] for line in json_lines(out)]

    def score(self, rows):
        output = self.folder / "scores.jsonl"
        self.run("score", *self.model, "--input", self.rows("score.jsonl", "tokens", rows), "--output", output)
        return [line["logprobs"] for line in json_lines(output.read_text())]

    def greedy(self, rows, length):
        out = self.run("generate", *self.model, "--input", self.rows("greedy.jsonl", "tokens", rows), "--temperature", 0, "--max-new-tokens", length, "--json")
        return [line["ids"] for line in json_lines(out)]

    def tokens(self, text):
        """All ids of a text: of a binidx as it stands, else as `volery convert` makes one, with the end token 0 behind every document."""
        if text.suffix != ".idx":
            self.run("convert", "--input", text, "--tokenizer", self.tokenizer, "--end-id", 0, "--output", self.folder / "text.idx")
            text = self.folder / "text.idx"
        head = text.read_bytes()[:18]
        if len(head) < 18 or head[:9] != b"MMIDIDX\0\0" or head[17] not in (4, 8):
            fail(f"{text}: is no binidx of 16 or 32 bit ids")
        ids = array.array("H" if head[17] == 8 else "i")
        data = text.with_suffix(".bin")
        if not data.exists():
            fail(f"{data}: no such file; it belongs to {text.name}")
        ids.frombytes(data.read_bytes())
        return ids


def read_lambada(path, limit):
    """(context, last word with the space in front) of each passage."""
    passages = []
    for number, line in enumerate(path.read_bytes().rstrip(b"\n").split(b"\n"), 1):
        if limit and len(passages) == limit:
            break
        try:
            text = json.loads(line)["text"]
            context, word = text.rsplit(" ", 1)
        except (ValueError, KeyError, TypeError, AttributeError):
            fail(f'{path}:{number}: is no passage of LAMBADA: that is a JSON line {{"text": "..."}} whose last word is the answer')
        if not context.strip() or not word.strip() or len(text) > 4000:
            fail(f"{path}:{number}: is no passage of LAMBADA: those are a few sentences with one word at the end (this has {len(text)} characters)")
        passages.append((context, " " + word))
    return passages


def measure_lambada(volery, passages, first):
    """Accuracy, perplexity and both standard errors (of the perplexity: of its logarithm), as RWKV's demos and its run_lm_eval take them: context
    and word encoded apart, one token in front; the word counts as right when each of its tokens is the likeliest one."""
    contexts = [first + ids for ids in volery.encode([c for c, _ in passages])]
    words = volery.encode([w for _, w in passages])
    right, sums = [], []
    for begin in range(0, len(passages), 512):
        some = range(begin, min(begin + 512, len(passages)))
        scores = volery.score([contexts[i] + words[i] for i in some])
        certain = []
        for i, logprobs in zip(some, scores):
            of_word = logprobs[-len(words[i]):]
            sums.append(sum(of_word))
            # Above one half it is the likeliest; else see what is.
            certain.append(all(p > math.log(0.5) + 1e-3 for p in of_word))
        open_ones = [i for i, sure in zip(some, certain) if not sure]
        chosen = volery.greedy([contexts[i] for i in open_ones], max(len(words[i]) for i in open_ones)) if open_ones else []
        said = dict(zip(open_ones, chosen))
        right += [sure or said[i][:len(words[i])] == words[i] for i, sure in zip(some, certain)]
        print(f"{len(sums)} of {len(passages)} passages: accuracy {sum(right) / len(right):.4f}, perplexity {perplexity_of(sums):.4g}", file=sys.stderr)
    accuracy, n = sum(right) / len(right), len(right)
    return accuracy, perplexity_of(sums), math.sqrt(accuracy * (1 - accuracy) / n), statistics.stdev(sums) / math.sqrt(n) if n > 1 else math.inf


def perplexity_of(sums):
    mean = -sum(sums) / len(sums)
    return math.exp(mean) if mean < 700 else math.inf


def measure_loss(volery, ids, context, limit):
    """Mean loss of the next token over windows of `context` tokens, each from an empty state, and how many tokens were predicted."""
    windows = [list(ids[begin:begin + context]) for begin in range(0, len(ids) - 1, context - 1)]
    windows = [w for w in windows if len(w) > 1][:limit or None]
    total = count = 0
    for begin in range(0, len(windows), 128):
        for logprobs in volery.score(windows[begin:begin + 128]):
            total, count = total - sum(logprobs), count + len(logprobs)
        print(f"{min(begin + 128, len(windows))} of {len(windows)} contexts: loss {total / count:.4f}", file=sys.stderr)
    return total / count, count


def recognise(shape, arguments):
    """The release this is, and what else has its shape."""
    family, layers, width, parameters = shape[:4]
    family = "rwkv6" if family == "finch" else family  # one layout, two readers
    fits = [r for r in RELEASES if r[1:4] == (family, layers, width) and r.parameters in (parameters, None)]
    if arguments.release:
        named = [r for r in fits if r.name == arguments.release]
        if named:
            return named[0], []
        known = any(r.name == arguments.release for r in RELEASES)
        fail(f"--release {arguments.release}:", "is of another shape than this checkpoint" if known else "no such release", "\n" + listing())
    if not fits and not arguments.any:
        fail(f"{arguments.checkpoint}: {family}, {layers} layers, width {width}, {parameters} parameters: no release with a published figure has this shape "
             f"(--any measures it all the same). Known are:\n{listing()}")
    return (fits[0], fits[1:]) if fits else (None, [])


def verdict(text, good):
    print(text, "ok" if good else "FAILED")
    return good


def check_lambada(volery, release, arguments):
    passages = read_lambada(arguments.data, arguments.limit)
    first = arguments.first if arguments.first is not None else [release.first if release else 0]
    accuracy, perplexity, accuracy_error, log_error = measure_lambada(volery, passages, first)
    print(f"LAMBADA: {len(passages)} passages, accuracy {accuracy:.4f}, perplexity {perplexity:.4g}")
    if not release or not release.lambada:
        print("published: none on record")
        return True
    published, published_perplexity, source = release.lambada
    print("published:", source)
    # Part of the passages only: the sampling error comes on top.
    part = 0 if len(passages) == 5153 else 3
    if part:
        print("  not all of LAMBADA's 5153 passages: the tolerances are wider by three standard errors")
    within, factor = ACCURACY_WITHIN + part * accuracy_error, 1 + PERPLEXITY_WITHIN
    good = verdict(f"  accuracy {accuracy:.4f}, published {published}, tolerance {within:.3f}:", abs(accuracy - published) <= within)
    if published_perplexity:
        factor *= math.exp(min(part * log_error, 700))
        bounds = published_perplexity / factor, published_perplexity * factor
        good &= verdict(f"  perplexity {perplexity:.4g}, published {published_perplexity}, tolerated {bounds[0]:.4g} to {bounds[1]:.4g}:", bounds[0] <= perplexity <= bounds[1])
    return good


def check_loss(volery, release, shape, arguments):
    trained = 2048 if release and release.name.startswith("L24-") else 1024
    context = min(arguments.context or trained, shape[4])
    if context < (arguments.context or trained):
        print(f"  the model's context is {context}: a folder whose config.json says more allows for more")
    loss, count = measure_loss(volery, volery.tokens(arguments.data), context, arguments.limit)
    print(f"loss: {loss:.4f} a token over {count} tokens, contexts of {context}")
    if not release or not release.loss:
        print("published: none on record")
        return True
    print("published:", release.loss[1])
    return verdict(f"  loss {loss:.4f}, published {release.loss[0]}, tolerance {LOSS_WITHIN}:", abs(loss - release.loss[0]) <= LOSS_WITHIN)


class List(argparse.Action):
    def __call__(self, parser, *_):
        print(listing())
        parser.exit()


def parse():
    parser = argparse.ArgumentParser(prog="tests/released.sh", description="Holds a released checkpoint against its published figures: exit 0 within the tolerance, 1 outside, 2 wrong input.")
    parser.add_argument("checkpoint", type=pathlib.Path, help="a .pth file or a Hugging Face folder")
    parser.add_argument("data", type=pathlib.Path, nargs="?", help="a .jsonl is LAMBADA (OpenAI's variant, lines {\"text\": ...}); .idx, .parquet or .txt is text for the loss (MiniPile's validation set)")
    parser.add_argument("--tokenizer", default="world", help="a tokenizer volery opens (world)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="read only the first N passages or contexts")
    parser.add_argument("--release", metavar="NAME", help="which of the releases of one shape it is")
    parser.add_argument("--any", action="store_true", help="measure also what is no release; there is no figure then")
    parser.add_argument("--first", type=lambda word: [] if word == "none" else [int(word)], metavar="ID", help="token in front of a passage, or none (0 for World, 11, a line feed, for GoldFinch: as their authors do)")
    parser.add_argument("--context", type=int, help="tokens of a context of the loss (as its authors trained, at most the model's; else 1024)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="cores to use; 0: all")
    parser.add_argument("--list", action=List, nargs=0, help="print the releases and their figures")
    arguments = parser.parse_intermixed_args()
    for path in (arguments.checkpoint, arguments.data):
        if path and not path.exists():
            fail(f"{path}: no such file or folder")
    if arguments.data and arguments.data.suffix not in (".jsonl", ".idx", ".parquet", ".txt"):
        fail(f"{arguments.data}: neither LAMBADA (.jsonl) nor text for the loss (.idx, .parquet, .txt)")
    if arguments.limit < 0 or (arguments.context is not None and arguments.context < 2):
        fail("--limit must be 0 or more, --context 2 or more")
    if not pathlib.Path(VOLERY).exists():
        fail(f"{VOLERY}: not there; ./bootstrap.sh build makes it, VOLERY_BINARY names another")
    arguments.checkpoint, arguments.data = arguments.checkpoint.resolve(), arguments.data and arguments.data.resolve()
    if pathlib.Path(arguments.tokenizer).exists():
        arguments.tokenizer = str(pathlib.Path(arguments.tokenizer).resolve())
    return arguments


def main():
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        volery = Volery(arguments, pathlib.Path(folder))
        shape = volery.shape()
        release, others = recognise(shape, arguments)
        sys.stdout.reconfigure(line_buffering=True)
        print(f"{arguments.checkpoint}: {shape[0]}, {shape[1]} layers, width {shape[2]}, {shape[3]} parameters: {release.name if release else 'no release'}")
        for other in others:
            print(f"  the same shape (--release NAME says which): {other.name}")
        if release and release.name in NOTES:
            print("  note:", NOTES[release.name])
        if not arguments.data:
            fail(f"what to measure it on is missing. Published for it: {figures(release) if release else 'nothing'}.\n"
                 "LAMBADA is OpenAI's lambada_test.jsonl; the loss is over MiniPile's validation set (.parquet, .txt or .idx)")
        if arguments.data.suffix == ".jsonl":
            good = check_lambada(volery, release, arguments)
        else:
            good = check_loss(volery, release, shape, arguments)
    if not good and others:
        print("  it may be another release of the same shape; see --release")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
