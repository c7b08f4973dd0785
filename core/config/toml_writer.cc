#include "core/config/toml_writer.h"

#include <charconv>
#include <cstdio>

#include "core/base/status.h"

namespace volery::config {
namespace {

bool IsBareKey(const std::string& key) {
  constexpr const char* kBare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  return !key.empty() && key.find_first_not_of(kBare) == std::string::npos;
}

std::string List(const std::vector<std::string>& items, const char* open, const char* close) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return open + text + close;
}

size_t ElementsOf(const std::string& section, const Recipe& recipe) {
  if (!SectionApplies(section, recipe)) return 0;
  const size_t star = section.find(".*");
  return star == std::string::npos ? 1 : ListSize(recipe, section.substr(0, star));
}

}  // namespace

std::string TomlString(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04X", byte);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string TomlNumber(double value) {
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  std::string text(buffer, result.ptr);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string TomlJson(const nlohmann::json& value) {
  std::vector<std::string> items;
  switch (value.type()) {
    case nlohmann::json::value_t::object:
      for (const auto& [key, inner] : value.items()) {
        items.push_back(Cat(IsBareKey(key) ? key : TomlString(key), " = ", TomlJson(inner)));
      }
      return items.empty() ? "{}" : List(items, "{ ", " }");
    case nlohmann::json::value_t::array:
      for (const nlohmann::json& inner : value) items.push_back(TomlJson(inner));
      return List(items, "[", "]");
    case nlohmann::json::value_t::string:
      return TomlString(value.get<std::string>());
    case nlohmann::json::value_t::number_float:
      return TomlNumber(value.get<double>());
    default:
      return value.dump();
  }
}

std::string TomlValue(const FieldRef& field) {
  struct Writer {
    std::string operator()(const std::string* text) const { return TomlString(*text); }
    std::string operator()(const int64_t* value) const { return Cat(*value); }
    std::string operator()(const double* value) const { return TomlNumber(*value); }
    std::string operator()(const bool* value) const { return *value ? "true" : "false"; }
    std::string operator()(const nlohmann::json* value) const { return TomlJson(*value); }
    std::string operator()(const std::vector<std::string>* paths) const {
      std::vector<std::string> items;
      for (const std::string& path : *paths) items.push_back(TomlString(path));
      return List(items, "[", "]");
    }
  };
  return std::visit(Writer(), field);
}

std::vector<RecipeValue> RecipeValues(const Recipe& recipe) {
  Recipe copy = recipe;  // the schema's accessors give writable fields
  std::vector<RecipeValue> values;
  for (const std::string& section : Sections()) {
    for (size_t element = 0; element < ElementsOf(section, recipe); ++element) {
      for (const Key& key : Schema()) {
        if (key.section() != section) continue;
        values.push_back({&key, ElementPath(key.path, element), ElementPath(section, element),
                          TomlValue(key.field(copy, element))});
      }
    }
  }
  return values;
}

std::string RecipeToToml(const Recipe& recipe) {
  std::string text, section;
  for (const RecipeValue& value : RecipeValues(recipe)) {
    if (value.section != section) {
      section = value.section;
      const bool element = value.key->path.find('*') != std::string::npos;
      text +=
          element ? Cat("\n[[", section.substr(0, section.find('.')), "]]\n") : Cat("\n[", section, "]\n");
    }
    text += Cat(value.key->name(), " = ", value.text, "\n");
  }
  return text;
}

}  // namespace volery::config
