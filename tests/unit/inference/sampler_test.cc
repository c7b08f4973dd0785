#include "core/inference/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/files.h"
#include "core/inference/fixed_exp.h"

namespace volery::inference {
namespace {

using data::SamplingParams;

std::vector<float> RandomLogits(int64_t count, uint64_t seed, float scale) {
  base::RandomStream stream(seed, base::RandomUse::kGenerator);
  std::vector<float> logits(static_cast<size_t>(count));
  for (float& x : logits)
    x = scale * static_cast<float>(std::log(stream.NextUnit() / (1 - stream.NextUnit())));
  return logits;
}

// The definition of DESIGN section 2, one id after another, without any shortcut.
SampledToken Definition(const SampleRow& row, int64_t vocabulary) {
  const SamplingParams& p = *row.params;
  const float temperature = p.temperature == 0 ? 1 : p.temperature;
  std::vector<float> z(row.logits, row.logits + vocabulary);
  for (float& x : z) x /= temperature;
  std::vector<int32_t> order(static_cast<size_t>(vocabulary));
  for (int32_t i = 0; i < vocabulary; ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return z[a] > z[b]; });
  const float top = z[order[0]];
  double all = 0;
  for (float x : z) all += std::exp(static_cast<double>(x) - top);
  int32_t best = order[0];
  if (p.temperature > 0) {
    size_t kept = p.top_k > 0 ? std::min<size_t>(p.top_k, order.size()) : order.size();
    double total = 0, sum = 0;
    for (size_t i = 0; i < kept; ++i) total += std::exp(static_cast<double>(z[order[i]]) - top);
    size_t nucleus = 0;
    while (nucleus < kept && (nucleus == 0 || p.top_p >= 1 || sum < p.top_p * total))
      sum += std::exp(static_cast<double>(z[order[nucleus++]]) - top);
    base::RandomStream stream(row.key.seed, base::RandomUse::kToken, row.key.group.bits,
                              static_cast<uint32_t>(row.key.sample));
    best = -1;
    double best_score = 0;
    for (size_t i = 0; i < nucleus; ++i) {
      const int32_t id = order[i];
      if (std::exp(static_cast<double>(z[id]) - top) < p.min_p) continue;
      const double score = static_cast<double>(z[id]) +
                           base::GumbelFromWord(stream.Word(static_cast<uint64_t>(row.key.position) << 32 |
                                                            static_cast<uint64_t>(id)));
      if (best < 0 || score > best_score || (score == best_score && id < best)) {
        best = id;
        best_score = score;
      }
    }
  }
  return {best, static_cast<float>(static_cast<double>(z[best]) - top - std::log(all))};
}

SampledToken One(const std::vector<float>& logits, const SamplingParams& params, const NoiseKey& key,
                 int64_t vocabulary = 0) {
  SampleRow row{logits.data(), &params, key};
  SampledToken token;
  SampleTokens({&row, 1}, vocabulary > 0 ? vocabulary : static_cast<int64_t>(logits.size()), {&token, 1});
  return token;
}

TEST(Sampler, EqualsTheDefinitionWhateverTheShape) {
  for (int64_t vocabulary : {1, 2, 7, 63, 64, 65, 500, 3001}) {
    for (float scale : {0.0f, 0.2f, 1.0f, 6.0f}) {
      for (float temperature : {0.5f, 1.0f, 2.5f}) {
        for (int kind = 0; kind < 5; ++kind) {
          SamplingParams params;
          params.temperature = temperature;
          if (kind == 1 || kind == 4) params.top_k = 5;
          if (kind == 2 || kind == 4) params.top_p = 0.83f;
          if (kind == 3 || kind == 4) params.min_p = 0.03f;
          const std::vector<float> logits = RandomLogits(vocabulary, 3 + kind, scale);
          for (int64_t position : {0, 1, 77777}) {
            const NoiseKey key{11, GroupId::Make(4, 1, kind), 3, position};
            const SampledToken got = One(logits, params, key),
                               want = Definition({logits.data(), &params, key}, vocabulary);
            ASSERT_EQ(got.token, want.token)
                << vocabulary << " " << scale << " " << temperature << " " << kind;
            ASSERT_NEAR(got.logprob, want.logprob, 2e-6 * (1 + std::abs(want.logprob)));
          }
        }
      }
    }
  }
}

TEST(Sampler, EqualsTheRecording) {
  const auto text = base::ReadFile(std::string(VOLERY_SOURCE_DIR) + "/tests/golden/inference/sampler.json");
  ASSERT_TRUE(text.ok()) << text.status();
  const nlohmann::json cases = nlohmann::json::parse(*text);
  ASSERT_EQ(cases.size(), 48u);
  for (const nlohmann::json& c : cases) {
    std::vector<float> logits;
    uint32_t x = c["index"].get<uint32_t>();
    for (int i = 0; i < c["count"].get<int>(); ++i) {
      x = x * 1664525u + 1013904223u;
      logits.push_back((static_cast<float>(x >> 16) / 4096 - 8) * c["scale"].get<float>());
    }
    SamplingParams params;
    params.temperature = c["temperature"];
    params.top_k = c["top_k"];
    params.top_p = c["top_p"];
    params.min_p = c["min_p"];
    const NoiseKey key{c["seed"], GroupId{c["group"].get<uint64_t>()}, c["sample"], c["position"]};
    const base::RandomStream stream(key.seed, base::RandomUse::kToken, key.group.bits,
                                    static_cast<uint32_t>(key.sample));
    for (uint64_t i = 0; i < 5; ++i)
      EXPECT_EQ(stream.Word((static_cast<uint64_t>(key.position) << 32) + i), c["words"][i].get<uint32_t>());
    const SampledToken got = One(logits, params, key);
    EXPECT_EQ(got.token, c["token"].get<int32_t>()) << c;
    EXPECT_NEAR(got.logprob, c["logprob"].get<double>(), 2e-6) << c;
  }
}

TEST(Sampler, RowsDependOnNothingElse) {
  const int64_t vocabulary = 1000;
  SamplingParams params;
  std::vector<std::vector<float>> logits;
  std::vector<SampleRow> rows;
  for (int r = 0; r < 64; ++r) logits.push_back(RandomLogits(vocabulary, 50 + r, 1));
  for (int r = 0; r < 64; ++r)
    rows.push_back({logits[r].data(), &params, {1, GroupId::Make(0, 0, r / 8), r % 8, 10 + r}});
  std::vector<SampledToken> together(64);
  SampleTokens(rows, vocabulary, together);
  for (int r = 0; r < 64; ++r) {
    const SampledToken alone = One(logits[r], params, rows[r].key);
    EXPECT_EQ(alone.token, together[r].token);
    EXPECT_EQ(alone.logprob, together[r].logprob);
  }
}

TEST(Sampler, GreedyTakesTheLowestIdOfTheLargestAndReportsAtTemperatureOne) {
  SamplingParams params;
  params.temperature = 0;
  std::vector<float> logits(200, 0.0f);
  logits[150] = logits[70] = 2.0f;
  const SampledToken token = One(logits, params, {});
  EXPECT_EQ(token.token, 70);
  EXPECT_NEAR(token.logprob, 2 - std::log(198 + 2 * std::exp(2.0)), 1e-6);
}

TEST(Sampler, MaskedIdsAreNeverSampledAndDoNotCount) {
  SamplingParams params;
  std::vector<float> logits(100, 0.0f);
  for (int i = 90; i < 100; ++i) logits[i] = 50;
  for (int64_t position = 0; position < 200; ++position) {
    const SampledToken token = One(logits, params, {5, {}, 0, position}, 90);
    EXPECT_LT(token.token, 90);
    EXPECT_NEAR(token.logprob, -std::log(90.0), 1e-6);
  }
}

TEST(Sampler, RowsThatAreNotFiniteAreReported) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (size_t where : {0, 31, 64, 69}) {
      std::vector<float> logits(70, 0.0f);
      logits[where] = bad;
      EXPECT_EQ(One(logits, {}, {}).token, -1);
    }
  }
  const std::vector<float> nothing(70, -std::numeric_limits<float>::infinity());
  EXPECT_EQ(One(nothing, {}, {}).token, -1);
  std::vector<float> one = nothing;
  one[66] = -3;
  EXPECT_EQ(One(one, {}, {}).token, 66);
  EXPECT_EQ(One(one, {}, {}).logprob, 0);
}

// Chi-square with a fixed seed: 20 classes (19 degrees of freedom, 99.9 % quantile 43.8), 20000 draws.
double ChiSquare(const std::vector<float>& logits, const SamplingParams& params,
                 const std::vector<double>& expected) {
  std::vector<int64_t> counts(logits.size());
  const int64_t draws = 20000;
  for (int64_t i = 0; i < draws; ++i)
    ++counts[One(logits, params,
                 {99, GroupId::Make(1, 0, static_cast<int>(i % 16)), static_cast<int32_t>(i / 16), 40})
                 .token];
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (expected[i] == 0) {
      EXPECT_EQ(counts[i], 0) << i;
    } else {
      const double want = expected[i] * static_cast<double>(draws);
      sum += (counts[i] - want) * (counts[i] - want) / want;
    }
  }
  return sum;
}

TEST(Sampler, DrawsFromTheSoftmax) {
  const std::vector<float> logits = RandomLogits(20, 8, 0.7f);
  SamplingParams params;
  params.temperature = 1.3f;
  std::vector<double> p(20);
  double total = 0;
  for (int i = 0; i < 20; ++i) total += p[i] = std::exp(logits[i] / 1.3);
  for (double& x : p) x /= total;
  EXPECT_LT(ChiSquare(logits, params, p), 43.8);
  std::vector<double> wrong =
      p;  // the test has teeth: a fifth of the likeliest class moved elsewhere is noticed
  const size_t likeliest = static_cast<size_t>(std::max_element(p.begin(), p.end()) - p.begin());
  wrong[likeliest] *= 0.8;
  wrong[(likeliest + 1) % 20] += p[likeliest] * 0.2;
  EXPECT_GT(ChiSquare(logits, params, wrong), 43.8);
}

TEST(Sampler, TruncationRenormalises) {
  const std::vector<float> logits = {0, 3, 1, 2, -1};
  SamplingParams params;
  params.top_k = 3;
  params.top_p = 0.9f;  // of {3, 2, 1}: 0.665, 0.245, 0.090 -> the first two reach 0.910
  const double a = std::exp(3.0), b = std::exp(2.0);
  EXPECT_LT(ChiSquare(logits, params, {0, a / (a + b), 0, b / (a + b), 0}),
            10.8);  // one degree of freedom, 99.9 %
}

TEST(Sampler, LogSumExpAndExpAreAccurate) {
  for (int i = 0; i <= 8700; ++i) {
    const float x = -0.01f * static_cast<float>(i);
    EXPECT_NEAR(FixedExp(x) / std::exp(static_cast<double>(x)), 1, 3e-7) << x;
  }
  EXPECT_EQ(FixedExp(-100), 0);
  EXPECT_EQ(FixedExp(-std::numeric_limits<float>::infinity()), 0);
  EXPECT_EQ(FixedExp(0), 1);
  const std::vector<float> z = RandomLogits(5003, 2, 2);
  double sum = 0;
  for (float x : z) sum += std::exp(static_cast<double>(x));
  EXPECT_NEAR(LogSumExp(z), std::log(sum), 1e-7 * std::log(sum) + 2e-7);
}

TEST(Sampler, RefusesParametersByName) {
  SamplingParams good;
  EXPECT_TRUE(CheckSamplingParams(good, 10).ok());
  const auto message = [](auto change) {
    SamplingParams params;
    change(params);
    return Message(CheckSamplingParams(params, 10));
  };
  EXPECT_NE(message([](SamplingParams& p) { p.temperature = -1; }).find("temperature = -1"),
            std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.temperature = std::nanf(""); }).find("temperature"),
            std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.top_p = 0; }).find("top_p"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.min_p = 2; }).find("min_p"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.top_k = -1; }).find("top_k"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.max_new_tokens = 0; }).find("max_new_tokens"),
            std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.stop_ids = {10}; }).find("stop id 10"), std::string::npos);
}

}  // namespace
}  // namespace volery::inference
