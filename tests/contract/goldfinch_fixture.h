#pragma once
// What the tests of GoldFinch share: the folder of its recordings, configs of its family and what refuses them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model_fixture.h"

namespace volery::testing {

using nlohmann::json;
using ::testing::HasSubstr;

inline const std::string kGoldens = VOLERY_SOURCE_DIR "/tests/golden/models/";

inline json Base() {
  return json::parse(ReadText(kGoldens + "goldfinch/config.json"));
}

inline std::unique_ptr<native::Model> Build(const json& config, const native::BuildOptions& options = {}) {
  return FindFamily("goldfinch").Build(config.dump(), options);
}

template <class Call>
std::string Refusal(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "accepted";
}

inline json Configured(const std::string& size, const std::string& name) {
  json c = Base();
  const bool large = size.starts_with("L24");
  c["num_hidden_layers"] = large ? 24 : 12;
  c["hidden_size"] = large ? 2048 : 768;
  c["vocab_size"] = 65536;
  c["head_size"] = 64;
  c["intermediate_size"] = nullptr;
  const auto kinds = [&](const char* lower, const char* upper) {
    c["tmix"] = lower;
    c["tmix2"] = upper;
  };
  if (name == "finch") kinds("x060", "x060");
  if (name == "finchc2") kinds("x060c2", "x060c2");
  if (name == "gptalpha") kinds("gptalpha", "gptalpha");
  if (name == "goldfinch_ablation_gptalpha") kinds("x060c2", "gptalpha");
  if (name == "goldfinch_ablation_gold_invratio_2") c["inv_other_layer_ratio"] = 2;
  if (name == "goldfinch_ablation_gold_invratio_6") c["inv_other_layer_ratio"] = 6;
  if (name == "goldfinch_ablation_rope10k") c["rope_theta"] = 10000.0;
  if (name == "llama") {
    kinds("llama", "llama");
    c["cmix"] = c["cmix2"] = "llama";
  }
  return c;
}

}  // namespace volery::testing
