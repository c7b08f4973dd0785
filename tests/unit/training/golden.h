#pragma once
// Reading the recordings of tests/golden/losses.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace volery::training {

inline nlohmann::json ReadGolden(const std::string& file) {
  std::ifstream in(std::string(VOLERY_SOURCE_DIR) + "/tests/golden/losses/" + file);
  EXPECT_TRUE(in.good()) << file;
  return nlohmann::json::parse(in);
}

inline void ExpectNear(const std::vector<double>& actual, const std::vector<double>& expected,
                       double tolerance, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], tolerance) << what << " at " << i;
}

}  // namespace volery::training
