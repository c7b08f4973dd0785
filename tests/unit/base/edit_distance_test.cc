#include "core/base/edit_distance.h"

#include <gtest/gtest.h>

namespace volery::base {
namespace {

TEST(EditDistance, CountsEditsAndSwaps) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("leraning_rate", "learning_rate"), 1u);
  EXPECT_EQ(EditDistance("ca", "abc"), 3u);  // optimal string alignment, not full Damerau
}

TEST(NearestWord, FindsTheNearestWithinAThirdOfTheWord) {
  const std::vector<std::string> words = {"temperature", "top_p", "top_k", "min_p"};
  EXPECT_EQ(NearestWord("temprature", words), "temperature");
  EXPECT_EQ(NearestWord("top_l", words), "top_p");
  EXPECT_EQ(NearestWord("unrelated", words), "");
  EXPECT_EQ(NearestWord("x", {"y"}), "y");
  EXPECT_EQ(NearestWord("xy", {"ab"}), "");
  EXPECT_EQ(DidYouMean("min_q", words), "; did you mean \"min_p\"?");
  EXPECT_EQ(DidYouMean("quite_other", words), "");
}

}  // namespace
}  // namespace volery::base
