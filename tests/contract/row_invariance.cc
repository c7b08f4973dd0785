// Prints which of the sampler's results are bitwise independent of the batch they were computed in: batch
// sizes 1, 2, 7, 16 and 64, and chunk borders. Exit status 0 when all cases agree, 1 otherwise.
//
//   row_invariance [model folder]     default: a tiny model of every installed family

#include <ATen/ATen.h>

#include <cstdio>

#include "model_fixture.h"

namespace volery::testing {
namespace {

struct Report {
  int agree = 0, differ = 0;
  void Case(const std::string& what, const at::Tensor& a, const at::Tensor& b) {
    const bool same = at::equal(a, b);
    (same ? agree : differ)++;
    std::printf("  %-44s %s (max |difference| %.3g)\n", what.c_str(), same ? "same bits" : "DIFFERS",
                MaxDifference(a, b));
  }
};

at::Tensor HiddenAndLogits(Sampler& sampler, const at::Tensor& hidden) {
  return at::cat({hidden.to(at::kFloat), sampler.Logits(hidden)}, 1);
}

// A prompt, then 12 single tokens, beside `others` rows of other sequences at other positions.
at::Tensor DecodeBeside(const TinyModel& tiny, const at::Tensor& tokens, int64_t others) {
  Sampler sampler(tiny, tiny.parameters.begin()->second.scalar_type());
  const int64_t prompt = tokens.size(0) - 12, row = others / 2;
  std::vector<std::pair<int64_t, at::Tensor>> prompts;
  for (int64_t i = 0; i <= others; i++)
    prompts.emplace_back(sampler.Slot(),
                         i == row ? tokens.narrow(0, 0, prompt)
                                  : RandomTokens(5 + 3 * i, tiny.model->info().vocabulary, 100 + i));
  for (const auto& [slot, t] : prompts) sampler.Read(slot, t, t.size(0));
  std::vector<at::Tensor> out;
  for (int64_t step = 0; step < 12; step++) {
    std::vector<std::pair<int64_t, at::Tensor>> chunks;
    for (int64_t i = 0; i <= others; i++)
      chunks.emplace_back(prompts[i].first, i == row
                                                ? tokens.narrow(0, prompt + step, 1)
                                                : RandomTokens(1, tiny.model->info().vocabulary, 1000 + i));
    out.push_back(HiddenAndLogits(sampler, sampler.Read(chunks)).narrow(0, row, 1));
  }
  return at::cat(out);
}

at::Tensor ReadInChunks(const TinyModel& tiny, const at::Tensor& tokens, int64_t size) {
  Sampler sampler(tiny, tiny.parameters.begin()->second.scalar_type());
  const int64_t slot = sampler.Slot();
  std::vector<at::Tensor> out;
  for (int64_t i = 0; i < tokens.size(0); i += size)
    out.push_back(HiddenAndLogits(
        sampler, sampler.Read(slot, tokens.narrow(0, i, std::min(size, tokens.size(0) - i)))));
  return at::cat(out);
}

void Check(const std::string& name, const TinyModel& tiny, Report& report) {
  std::printf("%s\n", name.c_str());
  const at::Tensor tokens = RandomTokens(52, tiny.model->info().vocabulary, 7);
  const at::Tensor alone = DecodeBeside(tiny, tokens, 0);
  for (int64_t batch : {2, 7, 16, 64})
    report.Case("batch of " + std::to_string(batch) + " = alone", DecodeBeside(tiny, tokens, batch - 1),
                alone);
  const at::Tensor whole = ReadInChunks(tiny, tokens, 52);
  for (int64_t size : {1, 7, 16, 40})
    report.Case("chunks of " + std::to_string(size) + " = whole prompt", ReadInChunks(tiny, tokens, size),
                whole);
  report.Case("decode = prompt", alone, whole.narrow(0, 40, 12));
}

}  // namespace
}  // namespace volery::testing

int main(int argc, char** argv) {
  using namespace volery::testing;
  Report report;
  try {
    if (argc > 1) {
      Check(argv[1], LoadModelFolder(argv[1], at::kFloat), report);
    } else {
      for (const FamilyCase& family : InstalledFamilies()) {
        const TinyModel tiny = MakeTiny(family, at::kFloat);
        Check(family.family + " float32", tiny, report);
        Check(family.family + " bfloat16", Convert(family, tiny, at::kBFloat16), report);
      }
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "row_invariance: %s\n", e.what());
    return 2;
  }
  std::printf("%d agree, %d differ\n", report.agree, report.differ);
  return report.differ == 0 ? 0 : 1;
}
