#include "core/config/layer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "core/base/edit_distance.h"
#include "core/base/files.h"
#include "core/base/status.h"
#include "core/config/schema.h"
#include "core/config/toml_writer.h"

namespace volery::config {
namespace {

constexpr const char* kNoNul = "a string with a NUL character in it can't be used";

std::string Join(const Path& path) {
  std::string joined;
  for (const std::string& part : path) joined += (joined.empty() ? "" : ".") + part;
  return joined;
}

Path Child(Path path, std::string name) {
  path.push_back(std::move(name));
  return path;
}

bool IsNumber(const std::string& part) {
  const bool digits =
      !part.empty() && part.size() < 7 && part.find_first_not_of("0123456789") == std::string::npos;
  return digits && (part == "0" || part[0] != '0');
}

// reward.3.weight -> reward.*.weight. A name with a dot in it (a quoted key) is nowhere in the schema.
std::string SchemaPath(const Path& path) {
  std::string joined;
  for (const std::string& part : path) {
    if (part.empty() || part == "*" || part.find('.') != std::string::npos) return "?";
    joined += (joined.empty() ? "" : ".") + (IsList(joined) && IsNumber(part) ? std::string("*") : part);
  }
  return joined;
}

std::string KindOf(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "the string " + TomlString(node.as_string()->get());
    case toml::node_type::integer:
      return Cat("the integer ", node.as_integer()->get());
    case toml::node_type::floating_point:
      return Cat("the number ", node.as_floating_point()->get());
    case toml::node_type::boolean:
      return node.as_boolean()->get() ? "true" : "false";
    default:
      return "a date or time";
  }
}

// Lays one source over the recipe.
class Layer {
 public:
  Layer(DecodedRecipe& out, const Source& source) : out_(out), source_(source) {}

  void Table(const Path& path, const toml::table& table) {
    const std::string section = Join(path);
    if (!path.empty()) out_.origins[section] = source_.At(table.source());
    NoteKind(path);
    for (const auto& [key, node] : table)
      Entry(Child(path, std::string(key.str())), source_.At(key.source()), node);
  }

  // Sets what stands at `path`, a key, a table or a list of the schema.
  void Entry(const Path& path, const Origin& key_origin, const toml::node& node) {
    const std::string schema_path = SchemaPath(path);
    if (NamesAMissingElement(path))
      return Report(key_origin, Path(path.begin(), path.begin() + 2), ElementHint(path[0]));
    if (const Key* key = FindKey(schema_path)) return Value(*key, path, node);
    if (IsList(schema_path)) return List(path, node);
    if (IsSection(schema_path)) {
      if (const toml::table* table = node.as_table()) return Table(path, *table);
      return Report(source_.At(node.source()), path, Cat("expected a table, got ", KindOf(node)));
    }
    if (const Key* options = OptionsAbove(path)) return Option(*options, path, node);
    Unknown(path, key_origin);
  }

 private:
  void Report(const Origin& origin, const Path& path, const std::string& message) {
    const std::string section = Join(Path(path.begin(), path.end() - 1));
    out_.problems.push_back({origin, section, Cat(path.back(), ": ", message)});
  }

  // The first part of the path that the schema doesn't know is the one to name.
  void Unknown(const Path& path, const Origin& origin) {
    Path section;
    size_t at = 0;
    while (at + 1 < path.size()) {
      Path longer = Child(section, path[at]);
      const std::string schema_path = SchemaPath(longer);
      if (!IsSection(schema_path) && !IsList(schema_path)) break;
      section = std::move(longer);
      ++at;
    }
    const std::string above = SchemaPath(section);
    if (FindKey(SchemaPath(Child(section, path[at])))) {
      return Report(origin, Child(section, path[at]),
                    Cat("has no key ", TomlString(path[at + 1]), " in it: it is a single value"));
    }
    out_.problems.push_back(
        {origin, Join(section), Cat("unknown key ", TomlString(path[at]), Suggestion(above, path[at]))});
  }

  std::string ElementHint(const std::string& list) const {
    const size_t count = ListSize(out_.recipe, list);
    if (count == 0) return Cat("the recipe has no [[", list, "]] table that could be changed");
    return Cat("no such [[", list, "]] table; there ",
               count == 1 ? "is one, number 0" : Cat("are ", count, ", numbers 0 to ", count - 1));
  }

  static std::string Suggestion(const std::string& section, const std::string& name) {
    const std::vector<std::string> names = NamesIn(section);
    if (const std::string hint = base::DidYouMean(name, names); !hint.empty()) return hint;
    std::string elsewhere;
    for (const Key& key : Schema()) {
      if (key.name() == name) elsewhere += Cat(elsewhere.empty() ? "" : " or ", "\"", key.path, "\"");
    }
    if (!elsewhere.empty()) return Cat("; did you mean ", elsewhere, "?");
    std::string list;
    for (const std::string& word : names) list += (list.empty() ? "" : ", ") + word;
    return "; known here: " + list;
  }

  const Key* OptionsAbove(const Path& path) const {
    for (size_t length = 1; length < path.size(); ++length) {
      const Key* key = FindKey(SchemaPath(Path(path.begin(), path.begin() + static_cast<ptrdiff_t>(length))));
      if (key != nullptr && key->type == KeyType::kOptions) return key;
    }
    return nullptr;
  }

  bool NamesAMissingElement(const Path& path) const {
    return IsList(path[0]) && path.size() > 1 &&
           !(IsNumber(path[1]) && Element(path) < ListSize(out_.recipe, path[0]));
  }

  static size_t Element(const Path& path) {
    return IsList(path[0]) && path.size() > 1 ? static_cast<size_t>(std::stoul(path[1])) : 0;
  }

  FieldRef Field(const Key& key, const Path& path) { return key.field(out_.recipe, Element(path)); }

  void List(const Path& path, const toml::node& node) {
    const toml::array* array = node.as_array();
    if (array == nullptr) {
      out_.refused.insert(Join(path));
      return Report(source_.At(node.source()), path,
                    Cat("expected a list of tables, written [[", path.back(), "]], got ", KindOf(node)));
    }
    const std::string list = Join(path);
    NoteKind(path);
    ClearList(out_.recipe, list);
    std::erase_if(out_.origins, [&](const auto& entry) { return entry.first.starts_with(list + "."); });
    out_.origins[list] = source_.At(node.source());
    for (const toml::node& element : *array) {
      const Path place = Child(path, std::to_string(ListSize(out_.recipe, list)));
      AddToList(out_.recipe, list);
      if (const toml::table* table = element.as_table()) {
        Table(place, *table);
      } else {
        Report(source_.At(element.source()), place, Cat("expected a table, got ", KindOf(element)));
      }
    }
  }

  void Value(const Key& key, const Path& path, const toml::node& node) {
    const Origin origin = source_.At(node.source());
    const std::string problem = Set(key, path, node);
    if (!problem.empty()) {
      out_.refused.insert(Join(path));
      return Report(origin, path, problem);
    }
    out_.origins[Join(path)] = origin;
    NoteKind(path);
  }

  // Tables whose presence says what kind of recipe it is.
  void NoteKind(const Path& path) {
    if (path.empty()) return;
    if (path[0] == "warmup") out_.recipe.warmup.present = true;
    if (path[0] == "pretrain" || path[0] == "data") out_.recipe.pretrain.present = true;
  }

  // "" or what is wrong.
  std::string Set(const Key& key, const Path& path, const toml::node& node) {
    const FieldRef field = Field(key, path);
    switch (key.type) {
      case KeyType::kInteger:
        return SetInteger(key, *std::get<int64_t*>(field), node);
      case KeyType::kNumber:
        return SetNumber(key, *std::get<double*>(field), node);
      case KeyType::kBool:
        return SetBool(key, *std::get<bool*>(field), node);
      case KeyType::kPaths:
      case KeyType::kTexts:
        return SetTexts(key, *std::get<std::vector<std::string>*>(field), node);
      case KeyType::kOptions:
        return SetOptions(key, path, *std::get<nlohmann::json*>(field), node);
      default:
        return SetText(key, *std::get<std::string*>(field), node);
    }
  }

  static std::string WrongType(const Key& key, const toml::node& node) {
    return Cat("expected ", Expected(key), ", got ", KindOf(node));
  }

  std::string SetInteger(const Key& key, int64_t& field, const toml::node& node) {
    const auto* value = node.as_integer();
    if (value == nullptr) return WrongType(key, node);
    if (!key.range.Holds(static_cast<double>(value->get())))
      return Cat(value->get(), " is out of range; expected ", Expected(key));
    field = value->get();
    return "";
  }

  std::string SetNumber(const Key& key, double& field, const toml::node& node) {
    if (!node.is_number()) return WrongType(key, node);
    const double value = *node.value<double>();
    if (!std::isfinite(value)) return Cat(value, " is no finite number; expected ", Expected(key));
    if (!key.range.Holds(value)) return Cat(value, " is out of range; expected ", Expected(key));
    field = value;
    return "";
  }

  std::string SetBool(const Key& key, bool& field, const toml::node& node) {
    if (!node.is_boolean()) return WrongType(key, node);
    field = node.as_boolean()->get();
    return "";
  }

  // A single value on the command line is text where text is expected: name=7, model.tokenizer=1.
  std::optional<std::string> TextOf(const toml::node& node) const {
    if (const auto* text = node.as_string()) return text->get();
    if (source_.origin.kind == Origin::Kind::kCommandLine && node.is_value()) return source_.raw;
    return std::nullopt;
  }

  std::string SetText(const Key& key, std::string& field, const toml::node& node) {
    const std::optional<std::string> text = TextOf(node);
    if (!text) return WrongType(key, node);
    if (text->find('\0') != std::string::npos) return kNoNul;
    const bool known_word = std::find(key.words.begin(), key.words.end(), *text) != key.words.end();
    if (key.type == KeyType::kWord && !known_word) {
      return Cat(TomlString(*text), " isn't known here; expected ", Expected(key),
                 base::DidYouMean(*text, key.words));
    }
    field = key.type == KeyType::kPath && !known_word ? Absolute(*text) : *text;
    if (key.type == KeyType::kFilename && text->find('/') != std::string::npos) field = Absolute(*text);
    return "";
  }

  std::string Absolute(const std::string& path) const {
    return path.empty() ? path : base::ResolvePath(source_.folder, path);
  }

  std::string SetTexts(const Key& key, std::vector<std::string>& field, const toml::node& node) {
    const auto as_meant = [&](const std::string& text) {
      return key.type == KeyType::kPaths ? Absolute(text) : text;
    };
    std::vector<std::string> texts;
    if (const toml::array* array = node.as_array()) {
      for (const toml::node& element : *array) {
        if (!element.is_string())
          return Cat("expected ", Expected(key), ", got ", KindOf(element), " in the list");
        texts.push_back(as_meant(element.as_string()->get()));
      }
    } else if (const auto text = TextOf(node); text && source_.origin.kind == Origin::Kind::kCommandLine) {
      texts.push_back(as_meant(*text));
    } else {
      return WrongType(key, node);
    }
    field = std::move(texts);
    return "";
  }

  std::string SetOptions(const Key& key, const Path& path, nlohmann::json& field, const toml::node& node) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return WrongType(key, node);
    for (const auto& [name, value] : *table) MergeOption(field, Child(path, std::string(name.str())), value);
    return "";
  }

  // options.a.b=1 on the command line.
  void Option(const Key& key, const Path& path, const toml::node& node) {
    const auto depth = static_cast<size_t>(std::count(key.path.begin(), key.path.end(), '.')) + 1;
    out_.origins.try_emplace(Join(Path(path.begin(), path.begin() + static_cast<ptrdiff_t>(depth))),
                             source_.origin);
    nlohmann::json* place = std::get<nlohmann::json*>(Field(key, path));
    for (size_t i = depth; i + 1 < path.size(); ++i) {
      nlohmann::json& inner = (*place)[path[i]];
      if (!inner.is_object()) inner = nlohmann::json::object();
      place = &inner;
    }
    MergeOption(*place, path, node);
  }

  void MergeOption(nlohmann::json& object, const Path& path, const toml::node& node) {
    const Origin origin = source_.At(node.source());
    nlohmann::json& value = object[path.back()];
    if (const toml::table* table = node.as_table()) {
      if (!value.is_object()) value = nlohmann::json::object();
      for (const auto& [name, inner] : *table)
        MergeOption(value, Child(path, std::string(name.str())), inner);
    } else if (const std::string problem = ToJson(node, value); !problem.empty()) {
      Report(origin, path, problem);
    }
    out_.origins[Join(path)] = origin;
  }

  static std::string ToJson(const toml::node& node, nlohmann::json& value) {
    switch (node.type()) {
      case toml::node_type::string:
        value = node.as_string()->get();
        return node.as_string()->get().find('\0') == std::string::npos ? "" : kNoNul;
      case toml::node_type::integer:
        value = node.as_integer()->get();
        return "";
      case toml::node_type::boolean:
        value = node.as_boolean()->get();
        return "";
      case toml::node_type::floating_point:
        value = node.as_floating_point()->get();
        return std::isfinite(node.as_floating_point()->get()) ? "" : "numbers must be finite";
      case toml::node_type::array:
        return ArrayToJson(*node.as_array(), value);
      case toml::node_type::table:
        return TableToJson(*node.as_table(), value);
      default:
        value = nullptr;
        return "dates and times can't be options; write a string";
    }
  }

  static std::string ArrayToJson(const toml::array& array, nlohmann::json& value) {
    value = nlohmann::json::array();
    for (const toml::node& element : array) {
      value.emplace_back();
      if (std::string problem = ToJson(element, value.back()); !problem.empty()) return problem;
    }
    return "";
  }

  static std::string TableToJson(const toml::table& table, nlohmann::json& value) {
    value = nlohmann::json::object();
    for (const auto& [name, inner] : table) {
      if (std::string problem = ToJson(inner, value[std::string(name.str())]); !problem.empty())
        return problem;
    }
    return "";
  }

  DecodedRecipe& out_;
  const Source& source_;
};

}  // namespace

void LayTable(DecodedRecipe& out, const Source& source, const toml::table& table) {
  Layer(out, source).Table({}, table);
}

void LayEntry(DecodedRecipe& out, const Source& source, const Path& path, const toml::node& node) {
  Layer(out, source).Entry(path, source.origin, node);
}

}  // namespace volery::config
