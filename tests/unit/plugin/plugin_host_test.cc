#include "core/plugin/plugin_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/base/files.h"
#include "core/plugin/build_tag.h"

namespace volery::plugin {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

const char kFixtures[] = VOLERY_BINARY_DIR "/tests/plugins";
std::string Fixture(const std::string& name) {
  return Cat(kFixtures, "/", name, ".so");
}

// Why the host refuses a fixture; every refusal names the file.
std::string Refusal(const std::string& name) {
  const PluginReport report = PluginHost::Check(Fixture(name));
  EXPECT_TRUE(IsInputError(report.status)) << report.status;
  EXPECT_THAT(Message(report.status), HasSubstr(name + ".so"));
  EXPECT_THAT(report.Text(), HasSubstr("refused"));
  return Message(report.status);
}

TEST(PluginHost, RefusesALibraryWithoutEntrySymbol) {
  EXPECT_THAT(Refusal("bad_no_entry"), HasSubstr("exports no symbol volery_plugin_entry"));
}

TEST(PluginHost, RefusesAnotherMajorAndANewerMinor) {
  EXPECT_THAT(Refusal("bad_major"), HasSubstr("built for plugin ABI 7.1; this volery speaks 0.1"));
  EXPECT_THAT(Refusal("bad_minor"), HasSubstr("newer plugin ABI 0.9"));
}

TEST(PluginHost, RefusesATooSmallStructAndBrokenFields) {
  EXPECT_THAT(Refusal("bad_size"),
              AllOf(HasSubstr("the plugin broke the contract"), HasSubstr("says 24 bytes")));
  EXPECT_THAT(Refusal("bad_kind"), HasSubstr("its kind is \"teapot\""));
  EXPECT_THAT(Refusal("bad_id"), HasSubstr("\"NoVendor\" is not of the form vendor.name/revision"));
  EXPECT_THAT(Refusal("bad_default"), HasSubstr("the default of option \"count\" (\"many\") is no integer"));
}

TEST(PluginHost, RefusesALibraryThatDoesNotLink) {
  EXPECT_THAT(Refusal("bad_link"), HasSubstr("volery_fixture_symbol_that_nobody_defines"));
}

TEST(PluginHost, RefusesAForeignBuildTagBeforeOpeningTheFile) {
  const std::string foreign = "sdk=9.9.9 headers=0000000000000000";
  EXPECT_THAT(Refusal("bad_tag"), AllOf(HasSubstr(foreign), HasSubstr(HostBuildTag())));
  EXPECT_THAT(Refusal("bad_tag_unlinkable"),
              AllOf(HasSubstr(foreign), HasSubstr(HostBuildTag()), Not(HasSubstr("symbol"))));
}

TEST(PluginHost, RefusesAModelWithoutTagAndTakesOneWithIts) {
  EXPECT_THAT(Refusal("bad_model_without_tag"), HasSubstr("carries no build tag"));
  StatusOr<std::shared_ptr<const ModelPlugin>> model = PluginHost().LoadModel(Fixture("good_tag"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_NE((*model)->family(), nullptr);
  EXPECT_EQ((*model)->info().build_tag, HostBuildTag());
}

TEST(PluginHost, RefusesWhatIsNoLibrary) {
  base::TemporaryFolder folder;
  ASSERT_TRUE(base::WriteFileAtomic(folder.File("text.so"), "this is no library\n").ok());
  EXPECT_THAT(Message(PluginHost::Check(folder.File("text.so")).status), HasSubstr("not a shared library"));
  EXPECT_EQ(PluginHost::Check(folder.File("absent.so")).status.code(), StatusCode::kNotFound);
}

TEST(PluginHost, LoadsTheKindThatIsAskedFor) {
  EXPECT_THAT(Message(PluginHost().LoadModel(Fixture("fixture_group")).status()),
              HasSubstr("is a reward, not a model"));
  EXPECT_THAT(Message(PluginHost().LoadReward(Fixture("good_tag"), {}, {}).status()),
              HasSubstr("is a model, not a reward"));
}

TEST(PluginHost, FindsByNameIdAndPath) {
  const PluginHost host({kFixtures});
  EXPECT_EQ(host.Find("fixture_group").value(), Fixture("fixture_group"));
  EXPECT_EQ(host.Find("fixture.group").value(), Fixture("fixture_group"));
  EXPECT_EQ(host.Find(Fixture("fixture_group")).value(), Fixture("fixture_group"));
  EXPECT_THAT(host.Find("format").value(), EndsWith("lib/volery/plugins/format.so"));
  const Status missing = host.Find("fixture_grop").status();
  EXPECT_EQ(missing.code(), StatusCode::kNotFound);
  EXPECT_THAT(Message(missing), AllOf(HasSubstr("did you mean \"fixture_group\"?"), HasSubstr(kFixtures),
                                      HasSubstr("plugins.path")));
}

TEST(PluginHost, SearchesTheEnvironmentsFoldersAfterTheRecipes) {
  setenv("VOLERY_PLUGIN_PATH", "/one::/two", 1);
  const PluginHost host({"/recipe"});
  unsetenv("VOLERY_PLUGIN_PATH");
  EXPECT_THAT(host.folders(), ::testing::ElementsAre("/recipe", "/one", "/two", InstalledPluginFolder()));
}

TEST(PluginHost, ListsEveryFileUsableOrNot) {
  int usable = 0, refused = 0;
  bool shipped = false;
  for (const PluginReport& report : PluginHost({kFixtures}).List()) {
    (report.status.ok() ? usable : refused) += 1;
    if (report.info.id == "volery.format/1") {
      shipped = true;
      EXPECT_THAT(report.Text(), AllOf(HasSubstr("reward volery.format/1, plugin ABI 0.1"),
                                       HasSubstr("words_column (text, \"\")")));
    }
  }
  EXPECT_TRUE(shipped);
  EXPECT_GE(usable, 8);
  EXPECT_GE(refused, 11);
}

TEST(PluginHost, TellsModelsFromTheirNoteAlone) {
  std::vector<std::string> models = PluginHost({kFixtures}).ModelFiles();
  EXPECT_THAT(models, ::testing::IsSupersetOf(
                          {Fixture("good_tag"), Fixture("bad_tag"), Fixture("bad_tag_unlinkable")}));
  EXPECT_THAT(models, Not(::testing::Contains(Fixture("fixture_group"))));
}

TEST(PluginOptions, AreCheckedAllAtOnce) {
  const PluginInfo info = PluginHost().Inspect(Fixture("fixture_behaviours")).value();
  ASSERT_EQ(info.options.size(), 6u);
  const auto problems =
      FindOptionProblems(info, {{"scal", 2}, {"count", 1.5}, {"refuse", "yes"}, {"greeting", "hi"}});
  ASSERT_EQ(problems.size(), 3u);
  EXPECT_THAT(problems[0].message, HasSubstr("must be integer, not number (1.5)"));
  EXPECT_THAT(problems[1].message, HasSubstr("must be bool, not string"));
  EXPECT_EQ(problems[2].key, "scal");
  EXPECT_EQ(problems[2].message, "unknown option \"scal\"; did you mean \"scale\"?");
  const Status loaded =
      PluginHost().LoadReward(Fixture("fixture_behaviours"), {{"scal", 2}, {"count", 1.5}}, {}).status();
  EXPECT_EQ(loaded.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(loaded),
              AllOf(HasSubstr("fixture_behaviours.so"), HasSubstr("scale"), HasSubstr("1.5")));
}

TEST(PluginOptions, TakeDefaultsAndWholeNumbersForNumbers) {
  const PluginInfo info = PluginHost().Inspect(Fixture("fixture_behaviours")).value();
  const nlohmann::ordered_json options = ResolveOptions(info, {{"scale", 2}}).value();
  EXPECT_EQ(options.dump(), R"({"greeting":"hello","scale":2,"refuse":false,"count":2,"read":"","instead":""})");
}

TEST(PluginOptions, AreReadFromACommandLineByTheirType) {
  const PluginInfo info = PluginHost().Inspect(Fixture("fixture_behaviours")).value();
  EXPECT_EQ(OptionsFromText(info, {"scale=2.5", "refuse=true", "greeting=3=4"}).value().dump(),
            R"({"greeting":"3=4","refuse":true,"scale":2.5})");
  EXPECT_THAT(Message(OptionsFromText(info, {"count=2.5"}).status()),
              HasSubstr("must be integer, not \"2.5\""));
  EXPECT_THAT(Message(OptionsFromText(info, {"skale=1"}).status()), HasSubstr("did you mean \"scale\"?"));
  EXPECT_THAT(Message(OptionsFromText(info, {"scale"}).status()), HasSubstr("no '='"));
}

TEST(PluginOptions, ThatAPluginRefusesFailTheLoad) {
  for (bool isolate : {false, true}) {
    const Status status =
        PluginHost()
            .LoadReward(Fixture("fixture_behaviours"), {{"refuse", true}}, {.isolate = isolate})
            .status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(Message(status), AllOf(HasSubstr("fixture_behaviours.so"), HasSubstr("told to refuse")));
  }
}

TEST(RewardInstance, RefusesAnIncompleteTable) {
  EXPECT_THAT(Message(PluginHost().LoadReward(Fixture("bad_instance"), {}, {}).status()),
              HasSubstr("no complete reward table"));
}

}  // namespace
}  // namespace volery::plugin
