#include "core/config/checks.h"

#include <algorithm>

#include "core/base/files.h"
#include "core/base/status.h"
#include "core/config/schema.h"
#include "core/config/toml_writer.h"

namespace volery::config {
namespace {

std::string Above(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

class Checker {
 public:
  explicit Checker(const DecodedRecipe& decoded) : decoded_(decoded), recipe_(decoded.recipe) {}

  std::vector<Problem> All() {
    Run();
    Model();
    FromScratch();
    Tokenizer();
    if (recipe_.pretrain.present) {
      Pretrain();
      return std::move(problems_);
    }
    RoomForAPrompt();
    Tasks();
    Rollout();
    Rewards();
    Algorithm();
    Held();
    NoOtherKind("of `volery pretrain`; a recipe of it has [[data]]");
    return std::move(problems_);
  }

 private:
  // "path" is a key: the message begins with its name.
  void Wrong(const std::string& path, const std::string& message) {
    const std::string section = Above(path);
    problems_.push_back({OriginOf(decoded_, path), section,
                         Cat(path.substr(section.empty() ? 0 : section.size() + 1), ": ", message)});
  }
  void WrongTable(const std::string& section, const std::string& message) {
    problems_.push_back({OriginOf(decoded_, section), section, message});
  }

  bool Refused(const std::string& path) const { return decoded_.refused.contains(path); }

  static bool IsPlainName(const std::string& name) {
    constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    return !name.empty() && name[0] != '.' && name[0] != '-' &&
           name.find_first_not_of(kPlain) == std::string::npos;
  }

  void Run() {
    if (!IsPlainName(recipe_.name)) {
      Wrong("name",
            TomlString(recipe_.name) +
                " can't name a run; use letters, digits, '_', '-' and '.', beginning with a letter or digit");
    }
    if (recipe_.runs.empty()) Wrong("runs", "must not be empty; the default is \"runs\"");
    const std::string& device = recipe_.device;
    const bool numbered = device.starts_with("cuda:") && device.size() > 5 && device.size() < 8 &&
                          device.find_first_not_of("0123456789", 5) == std::string::npos;
    if (device != "cpu" && device != "cuda" && !numbered)
      Wrong("device", TomlString(device) + " isn't known; expected \"cpu\", \"cuda\" or \"cuda:<number>\"");
  }

  void Model() {
    const ModelRecipe& model = recipe_.model;
    if (model.path.empty() && model.family.empty() && !Refused("model.path") && !Refused("model.family")) {
      WrongTable("model",
                 "no model: set path (a folder or GGUF file), or family for a model from scratch");
    }
    if (!model.path.empty() && !model.family.empty()) {
      Wrong("model.family",
            "path is set too; keep path to start from a model, or family for one from scratch");
    }
  }

  void RoomForAPrompt() {
    const ModelRecipe& model = recipe_.model;
    if (model.context > 0 &&
        model.context <= recipe_.rollout.max_new_tokens + recipe_.tasks.max_prompt_tokens) {
      Wrong("model.context",
            Cat(model.context, " tokens leave no room for a prompt; rollout.max_new_tokens is ",
                recipe_.rollout.max_new_tokens,
                recipe_.tasks.max_prompt_tokens > 0
                    ? Cat(" and tasks.max_prompt_tokens is ", recipe_.tasks.max_prompt_tokens)
                    : ""));
    }
  }

  void FromScratch() {
    const ModelRecipe& model = recipe_.model;
    if (model.family.empty() && !model.path.empty()) {
      for (const auto& [name, value] : {std::pair<const char*, int64_t>{"layers", model.layers},
                                        {"width", model.width},
                                        {"heads", model.heads},
                                        {"kv_heads", model.kv_heads},
                                        {"ffn_width", model.ffn_width},
                                        {"vocabulary", model.vocabulary}}) {
        if (value != 0)
          Wrong(Cat("model.", name), "is for models from scratch, but path is set; remove one of them");
      }
      if (!model.tied) Wrong("model.tied", "is for models from scratch, but path is set; remove one of them");
      return;
    }
    if (model.heads > 0 && model.width % model.heads != 0) {
      Wrong("model.heads", Cat(model.heads, " doesn't divide width = ", model.width,
                               "; the size of a head is width / heads"));
    }
    if (model.kv_heads > 0 && (model.heads == 0 || model.heads % model.kv_heads != 0)) {
      Wrong("model.kv_heads", Cat(model.kv_heads, " doesn't divide heads = ", model.heads));
    }
  }

  void Tokenizer() {
    const ModelRecipe& model = recipe_.model;
    if (Refused("model.tokenizer")) return;
    if (!model.family.empty() && model.path.empty() && model.tokenizer.empty()) {
      Wrong("model.tokenizer",
            "a model from scratch brings none; set \"bytes\", \"characters\", \"world\" or a path");
    }
    const bool characters = model.tokenizer == "characters";
    if (characters && model.characters.empty() && !Refused("model.characters"))
      Wrong("model.characters", "tokenizer = \"characters\" needs its alphabet here");
    if (!characters && !model.characters.empty())
      Wrong("model.characters", "is used with tokenizer = \"characters\" only");
  }

  void Tasks() {
    const TasksRecipe& tasks = recipe_.tasks;
    const bool refused = Refused("tasks.file") || Refused("tasks.generator");
    if (tasks.file.empty() && tasks.generator.empty() && !refused) {
      WrongTable("tasks", "no tasks: set file (JSON Lines or Parquet) or generator");
    }
    if (!tasks.file.empty() && !tasks.generator.empty())
      Wrong("tasks.generator", "file is set too; keep one of them");
    if (tasks.generator.empty() && !tasks.options.empty() && !refused)
      Wrong("tasks.options", "are the generator's, and no generator is set");
    if (!tasks.generator.empty() && tasks.file.empty() && recipe_.eval.file.empty()) GeneratorTasks();
    if (!recipe_.eval.file.empty() && recipe_.eval.tasks == 0 && !Refused("eval.tasks"))
      Wrong("eval.tasks", "0 evaluates nothing, but eval.file is set; remove one of them");
    if (tasks.prompt.empty() && tasks.messages.empty())
      Wrong("tasks.prompt", "must name a column, where messages doesn't");
    if (!tasks.system.empty() && !tasks.chat && tasks.messages.empty())
      Wrong("tasks.system", "is for chat; set chat = true or messages");
  }

  // What describes a dataset says nothing of generated tasks.
  void GeneratorTasks() {
    const TasksRecipe& tasks = recipe_.tasks;
    const TasksRecipe plain;
    for (const auto& [name, changed] : {std::pair{"prompt", tasks.prompt != plain.prompt},
                                        {"messages", tasks.messages != plain.messages},
                                        {"answer", tasks.answer != plain.answer},
                                        {"id", tasks.id != plain.id},
                                        {"type", tasks.type != plain.type},
                                        {"chat", tasks.chat != plain.chat},
                                        {"system", tasks.system != plain.system}}) {
      if (changed) Wrong(Cat("tasks.", name), "is for datasets, and the tasks come from a generator; remove it");
    }
  }

  void Rollout() {
    if (recipe_.rollout.group_size < 2) {
      Wrong("rollout.group_size",
            Cat(recipe_.rollout.group_size,
                " gives every rollout advantage 0, since it is measured against its group; "
                "expected at least 2"));
    }
  }

  void Rewards() {
    const std::vector<RewardRecipe>& rewards = recipe_.reward;
    if (rewards.empty() && Refused("reward")) return;
    if (rewards.empty()) {
      problems_.push_back({OriginOf(decoded_, "reward"), "",
                           "no [[reward]]: name at least one reward plugin, such as plugin = \"format\""});
      return;
    }
    for (size_t i = 0; i < rewards.size(); ++i) {
      if (rewards[i].plugin.empty() && !Refused(Cat("reward.", i, ".plugin")))
        WrongTable(Cat("reward.", i), "plugin is missing: the name of a reward plugin or its file");
    }
    if (std::all_of(rewards.begin(), rewards.end(),
                    [](const RewardRecipe& reward) { return reward.weight == 0; })) {
      Wrong("reward.0.weight", "all rewards have weight 0, so nothing can be learned");
    }
  }

  void Algorithm() {
    const AlgorithmRecipe& algorithm = recipe_.algorithm;
    if (algorithm.delta != 0 && algorithm.delta <= 1 + algorithm.clip_high) {
      Wrong("algorithm.delta", Cat(algorithm.delta, " must be more than 1 + clip_high = ",
                                   1 + algorithm.clip_high, ", or 0 for none"));
    }
  }

  void Held() {
    const EvalRecipe& eval = recipe_.eval;
    if (!IsPlainName(eval.name))
      Wrong("eval.name", TomlString(eval.name) +
                             " can't be part of a metric's name; use letters, digits, '_', '-' and '.'");
    if (eval.every > 0 && eval.tasks == 0) Wrong("eval.every", "tasks = 0 holds out no task to evaluate on");
    if (!recipe_.warmup.present) return;
    if (eval.tasks == 0)
      Wrong("warmup.until", "is measured on held-out tasks, and eval.tasks = 0 holds out none");
  }

  // Values of sections that say nothing in this kind of recipe.
  void NoOtherKind(const std::string& whose) {
    std::string last;
    for (const auto& [path, origin] : decoded_.origins) {
      const std::string table = path.substr(0, path.find('.'));
      const bool written = origin.kind == Origin::Kind::kFile || origin.kind == Origin::Kind::kCommandLine;
      if (!written || table == "warmup" || table == last || SectionApplies(table, recipe_)) continue;
      problems_.push_back({origin, table, Cat("is ", whose)});
      last = table;
    }
  }

  void Pretrain() {
    const PretrainRecipe& pretrain = recipe_.pretrain;
    NoOtherKind("of `volery run`, and this is a recipe of pretraining; remove it");
    if (recipe_.warmup.present) WrongTable("warmup", "is of `volery run`; see trainer.optim.warmup_steps");
    if (recipe_.max_staleness != Recipe().max_staleness)
      Wrong("max_staleness", "is of `volery run`; remove it");
    if (recipe_.data.empty() && !Refused("data"))
      WrongTable("pretrain", "no text to learn from: add [[data]] with file = \"...\"");
    for (size_t i = 0; i < recipe_.data.size(); ++i) {
      const DataRecipe& data = recipe_.data[i];
      const std::string path = Cat("data.", i);
      if (data.file.empty() && !Refused(path + ".file"))
        WrongTable(path, "file is missing: text to learn from");
      TextFile(path, data);
    }
    const ValidationRecipe& validation = recipe_.validation;
    TextFile("validation", validation);
    if (!validation.labels.empty() && validation.file.empty())
      Wrong("validation.labels", "is for validation.file; text held out of [[data]] has its labels");
    if (validation.sequences == 0 && (!validation.file.empty() || validation.every > 0))
      Wrong("validation.sequences", "0 measures nothing, but other keys of [validation] are set");
    if (pretrain.magic_prime != 0 && pretrain.order != "magic_prime")
      Wrong("pretrain.magic_prime", "is for order = \"magic_prime\"");
    if (pretrain.carry > 1 && pretrain.order == "magic_prime")
      Wrong("pretrain.carry", "doesn't go with order = \"magic_prime\", whose sequences are single contexts");
    if (pretrain.order == "magic_prime" && recipe_.data.size() > 1)
      Wrong("pretrain.order", "\"magic_prime\" walks one text, but there are several [[data]]");
    if (recipe_.model.context > 0 && recipe_.model.context < pretrain.context) {
      Wrong("pretrain.context",
            Cat(pretrain.context, " is more than model.context = ", recipe_.model.context));
    }
  }

  // `table`: DataRecipe or ValidationRecipe.
  template <class Table>
  void TextFile(const std::string& path, const Table& table) {
    const std::string kind = TextFormatOf(table.file, table.format);
    if (!table.separator.empty() && !table.file.empty() && kind != "text")
      Wrong(path + ".separator", Cat("is for plain text, but the file counts as ", kind));
    if (table.labels.empty()) return;
    if (!table.file.empty() && kind != "jsonl" && kind != "parquet")
      Wrong(path + ".labels", Cat("is for .jsonl and .parquet, but the file counts as ", kind));
    if (recipe_.pretrain.carry > 1)
      Wrong(path + ".labels", "doesn't go with pretrain.carry, whose state needs every token of a context");
  }

  const DecodedRecipe& decoded_;
  const Recipe& recipe_;
  std::vector<Problem> problems_;
};

}  // namespace

Origin OriginOf(const DecodedRecipe& decoded, const std::string& path) {
  for (std::string at = path; !at.empty(); at = Above(at)) {
    if (const auto found = decoded.origins.find(at); found != decoded.origins.end()) return found->second;
  }
  return {};
}

std::vector<Problem> CrossCheck(const DecodedRecipe& decoded) {
  return Checker(decoded).All();
}

std::vector<Problem> CheckFiles(const DecodedRecipe& decoded) {
  std::vector<Problem> problems;
  Recipe copy = decoded.recipe;
  for (const Key& key : Schema()) {
    if (key.type != KeyType::kPath) continue;
    const size_t star = key.path.find(".*");
    const size_t elements =
        star == std::string::npos ? 1 : ListSize(copy, std::string_view(key.path).substr(0, star));
    for (size_t element = 0; element < elements; ++element) {
      const std::string& path = *std::get<std::string*>(key.field(copy, element));
      const bool word = std::find(key.words.begin(), key.words.end(), path) != key.words.end();
      if (path.empty() || word || base::Exists(path)) continue;
      const std::string at = ElementPath(key.path, element);
      problems.push_back(
          {OriginOf(decoded, at), Above(at), Cat(key.name(), ": ", TomlString(path), " doesn't exist")});
    }
  }
  return problems;
}

std::string TextFormatOf(const std::string& file, const std::string& format) {
  if (!format.empty()) return format;
  if (file.ends_with(".jsonl")) return "jsonl";
  if (file.ends_with(".parquet")) return "parquet";
  if (file.ends_with(".idx") || file.ends_with(".bin")) return "binidx";
  return "text";
}

}  // namespace volery::config
