#pragma once
// The one table of a recipe's keys. Parsing, checks, the resolved recipe, plan's listing and the reference
// page are made from it; a new key is a member of recipe.h and a row in schema.cc.
//
// Paths are dotted: "trainer.optim.learning_rate". In the schema "reward.*.weight" stands for every element
// of the list [[reward]]; in a recipe the element's number takes the place of "*".

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/config/recipe.h"

namespace volery::config {

enum class KeyType {
  kText,
  kWord,      // one of Key::words
  kPath,      // relative to the recipe file; on the command line to the working directory. Key::words stay as
              // they are
  kFilename,  // as kPath where it has a '/', else a name that stays as it is
  kInteger,
  kNumber,
  kBool,
  kOptions,  // a table of anything, checked by whom it is for
  kPaths,    // a list of kPath
  kTexts,    // a list of strings
};

using FieldRef =
    std::variant<std::string*, int64_t*, double*, bool*, nlohmann::json*, std::vector<std::string>*>;

struct Range {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool above = false;  // must be more than `least`, not just as much

  bool Holds(double value) const;  // false for what isn't finite
  std::string Text() const;        // "> 0 and <= 1"; "" for any
};

struct Key {
  std::string path;
  KeyType type;
  FieldRef (*field)(Recipe& recipe, size_t element);  // `element` of the list, where the path has a "*"
  Range range;
  std::vector<std::string> words;
  std::string help;

  std::string name() const;     // the last part of the path
  std::string section() const;  // what comes before it, "" at the top
};

// All keys, in the order in which a recipe is written.
const std::vector<Key>& Schema();

// By the path with "*" for numbers; nullptr where there is none.
const Key* FindKey(std::string_view schema_path);
bool IsSection(std::string_view schema_path);  // "" (the top), "trainer", "trainer.optim", "reward.*" ...
bool IsList(std::string_view schema_path);     // "reward", "data"
// The tables of a list in a recipe; CHECK-fails for what is no list.
size_t ListSize(const Recipe& recipe, std::string_view list);
void ClearList(Recipe& recipe, std::string_view list);
void AddToList(Recipe& recipe, std::string_view list);
// Whether a section says anything in this recipe: those of RL do in recipes of RL, those of pretraining in
// recipes of pretraining, [warmup] where it was written.
bool SectionApplies(std::string_view section, const Recipe& recipe);
// "reward.*.weight" with the element's number in the place of "*".
std::string ElementPath(const std::string& schema_path, size_t element);
// Names that may stand in a section: its keys, tables and lists.
std::vector<std::string> NamesIn(std::string_view section);
// Sections in the order of Schema(), "" first.
const std::vector<std::string>& Sections();

// What a recipe's value of this key must be, for messages and the reference page: "an integer", "one of "a",
// "b"".
std::string Expected(const Key& key);

}  // namespace volery::config
