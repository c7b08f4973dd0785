#include "core/config/schema.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/config/load_recipe.h"
#include "core/config/presets.h"
#include "core/config/reference_page.h"
#include "core/config/toml_writer.h"

namespace volery::config {
namespace {

bool TypeFits(KeyType type, const FieldRef& field) {
  switch (type) {
    case KeyType::kInteger:
      return std::holds_alternative<int64_t*>(field);
    case KeyType::kNumber:
      return std::holds_alternative<double*>(field);
    case KeyType::kBool:
      return std::holds_alternative<bool*>(field);
    case KeyType::kOptions:
      return std::holds_alternative<nlohmann::json*>(field);
    case KeyType::kPaths:
    case KeyType::kTexts:
      return std::holds_alternative<std::vector<std::string>*>(field);
    default:
      return std::holds_alternative<std::string*>(field);
  }
}

TEST(Schema, EveryKeyFitsItsMemberAndAcceptsItsDefault) {
  Recipe recipe;
  recipe.reward.emplace_back();
  recipe.data.emplace_back();
  std::set<std::string> paths;
  for (const Key& key : Schema()) {
    EXPECT_TRUE(paths.insert(key.path).second) << key.path;
    EXPECT_FALSE(key.help.empty()) << key.path;
    const FieldRef field = key.field(recipe, 0);
    ASSERT_TRUE(TypeFits(key.type, field)) << key.path;
    if (auto* integer = std::get_if<int64_t*>(&field)) {
      EXPECT_TRUE(key.range.Holds(static_cast<double>(**integer))) << key.path;
    }
    if (auto* number = std::get_if<double*>(&field)) {
      EXPECT_TRUE(key.range.Holds(**number)) << key.path;
    }
    if (key.type == KeyType::kWord) {
      EXPECT_TRUE(std::count(key.words.begin(), key.words.end(), **std::get_if<std::string*>(&field)))
          << key.path;
    }
    EXPECT_EQ(FindKey(key.path), &key);
    EXPECT_TRUE(IsSection(key.section())) << key.path;
  }
}

TEST(Schema, EveryKeyHasAMemberOfItsOwn) {
  Recipe changed;
  changed.reward.emplace_back();
  changed.data.emplace_back();
  changed.warmup.present = true;
  std::set<const void*> fields;
  for (const Key& key : Schema()) {
    std::visit([&](auto* field) { EXPECT_TRUE(fields.insert(field).second) << key.path; },
               key.field(changed, 0));
  }
  EXPECT_EQ(fields.size(), Schema().size());
  // Between them, the two kinds of recipe write every key.
  std::set<std::string> written;
  for (const bool pretrain : {false, true}) {
    changed.pretrain.present = pretrain;
    for (const RecipeValue& value : RecipeValues(changed)) written.insert(value.key->path);
  }
  EXPECT_EQ(written.size(), Schema().size());
}

TEST(Schema, PresetsAreItsWordsAndFitItsRanges) {
  std::vector<std::string> names;
  for (const AlgorithmRecipe& preset : Presets()) {
    names.push_back(preset.preset);
    Recipe recipe;
    recipe.algorithm = preset;
    for (const Key& key : Schema()) {
      if (key.section() != "algorithm") continue;
      const FieldRef field = key.field(recipe, 0);
      if (auto* number = std::get_if<double*>(&field)) {
        EXPECT_TRUE(key.range.Holds(**number)) << preset.preset << " " << key.path;
      }
    }
  }
  EXPECT_EQ(names, FindKey("algorithm.preset")->words);
  EXPECT_EQ(*FindPreset("grpo"), AlgorithmRecipe());
  EXPECT_EQ(FindPreset("none"), nullptr);
}

TEST(Range, HoldsItsBordersAndNoMore) {
  const Range range{0, 1, true};
  EXPECT_FALSE(range.Holds(0));
  EXPECT_TRUE(range.Holds(1e-300));
  EXPECT_TRUE(range.Holds(1));
  EXPECT_FALSE(range.Holds(1.0000001));
  EXPECT_FALSE(range.Holds(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_EQ(range.Text(), "> 0 and <= 1");
  EXPECT_FALSE(Range().Holds(std::numeric_limits<double>::infinity()));
  EXPECT_EQ(Range().Text(), "");
}

TEST(TomlWriter, StringsAndNumbers) {
  EXPECT_EQ(TomlString("a\"b\\c\n\t\x01\x7f\xc3\xa4"), "\"a\\\"b\\\\c\\n\\t\\u0001\\u007F\xc3\xa4\"");
  EXPECT_EQ(TomlNumber(1), "1.0");
  EXPECT_EQ(TomlNumber(0.1), "0.1");
  EXPECT_EQ(TomlNumber(2e-5), "2e-05");
  EXPECT_EQ(TomlJson(nlohmann::json::parse(R"({"a": [1, 2.5], "b c": {}})")),
            "{ a = [1, 2.5], \"b c\" = {} }");
}

TEST(ReferencePage, NamesEveryKeyWithItsDefault) {
  const std::string page = ReferencePage();
  for (const Key& key : Schema())
    EXPECT_NE(page.find("| `" + key.name() + "` | "), std::string::npos) << key.path;
  EXPECT_NE(page.find("## [trainer.optim]"), std::string::npos);
  EXPECT_NE(page.find("| `group_size` | an integer >= 1 and <= 65536 | `8` | rollouts of one task |"),
            std::string::npos);
}

TEST(OverridablePaths, AreWhatOverridesAccept) {
  const std::vector<std::string> paths = OverridablePaths();
  EXPECT_EQ(paths.size(), Schema().size());
  EXPECT_TRUE(std::count(paths.begin(), paths.end(), "reward.0.weight"));
}

}  // namespace
}  // namespace volery::config
