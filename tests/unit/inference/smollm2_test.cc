// The whole way with a real model: GGUF file, tokenizer, engine. Recorded by tests/golden/models/record.py.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/inference/engine.h"
#include "core/inference/generate.h"
#include "core/inference/scoring.h"
#include "core/policy/model_source.h"
#include "core/policy/version.h"

namespace volery::inference {
namespace {

const std::string kRoot = VOLERY_SOURCE_DIR;

TEST(SmolLm2, GreedyTextsOfTheEngineEqualTransformers) {
  const plugin::PluginHost host({std::string(VOLERY_BINARY_DIR) + "/lib/volery/plugins"});
  auto source =
      policy::OpenModel(kRoot + "/models/SmolLM2-135M-Instruct.Q4_1.gguf", policy::FamiliesOf(host), {});
  ASSERT_TRUE(source.ok()) << source.status();
  const auto model = source->Build(at::kFloat, at::kCPU);
  ASSERT_TRUE(model.ok()) << model.status();
  auto engine =
      SlotEngine::Create(*model, {.vocabulary = source->vocabulary(), .max_slots = 2, .prefill_tokens = 20});
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto prepared = (*engine)->Prepare(policy::MakeVersion(VersionId(0), source->weights));
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  ASSERT_TRUE((*engine)->Update(*prepared, data::OnUpdate::kKeep).ok());

  const auto text = base::ReadFile(kRoot + "/tests/golden/models/smollm2.json");
  ASSERT_TRUE(text.ok()) << text.status();
  const nlohmann::json golden = nlohmann::json::parse(*text);
  std::vector<data::SampleRequest> requests;
  for (const nlohmann::json& prompt : golden["prompts"]) {
    data::SampleRequest request;
    request.group = GroupId::Make(0, 0, static_cast<int>(requests.size()));
    request.prompt =
        source->tokenizer.tokenizer->Encode(prompt["text"].get<std::string>(), {.add_special = false});
    EXPECT_EQ(request.prompt, prompt["prompt_ids"].get<std::vector<int32_t>>());
    request.params.temperature = 0;
    request.params.max_new_tokens = 64;
    request.params.stop_ids = source->stop_ids;
    requests.push_back(request);
  }
  ASSERT_EQ(requests.size(), 3u);
  const auto rollouts = Generate(**engine, requests);
  ASSERT_TRUE(rollouts.ok()) << rollouts.status();
  std::vector<std::vector<int32_t>> all;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ((*rollouts)[i][0].spans[1].tokens,
              golden["prompts"][i]["greedy_ids"].get<std::vector<int32_t>>())
        << i;
    all.push_back((*rollouts)[i][0].Tokens());
  }
  // The training path gives the same log-probs.
  (*model)->Bind(source->weights);
  const auto scores = ScoreTokens(**model, all, {.vocabulary = source->vocabulary()});
  ASSERT_TRUE(scores.ok()) << scores.status();
  double largest = 0;
  for (size_t i = 0; i < 3; ++i) {
    const data::Rollout& rollout = (*rollouts)[i][0];
    const int64_t prompt = rollout.PromptLength();
    for (int64_t t = 0; t < rollout.SampledLength(); ++t) {
      largest = std::max(largest, std::abs(static_cast<double>(rollout.spans[1].logprobs[t]) -
                                           (*scores)[i].logprobs[prompt + t - 1]));
    }
  }
  EXPECT_LE(largest, 1e-4);
  RecordProperty("largest_difference_of_logprobs", Cat(largest));
}

}  // namespace
}  // namespace volery::inference
