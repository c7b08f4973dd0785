#include "core/plugin/wire.h"

#include <cmath>

namespace volery::plugin {
namespace {

void PutSample(WireWriter& out, const RewardSample& sample) {
  out.Put(sample.group.bits);
  out.Put(sample.sample);
  out.Put(sample.task_index);
  for (const std::string* text :
       {&sample.task_id, &sample.task_type, &sample.prompt, &sample.completion, &sample.answer})
    out.PutText(*text);
  out.Put(sample.stop);
  out.Put<uint64_t>(sample.spans.size());
  for (const data::Span& span : sample.spans) {
    out.Put(span.origin);
    out.PutList(span.tokens);
    out.PutList(span.logprobs);
  }
  out.PutText(sample.columns == nullptr
                  ? ""
                  : sample.columns->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

RewardSample GetSample(WireReader& in) {
  RewardSample sample;
  sample.group.bits = in.Get<uint64_t>();
  sample.sample = in.Get<int32_t>();
  sample.task_index = in.Get<int64_t>();
  for (std::string* text :
       {&sample.task_id, &sample.task_type, &sample.prompt, &sample.completion, &sample.answer})
    *text = in.GetText();
  sample.stop = in.Get<data::StopReason>();
  sample.spans.resize(in.GetCount());
  for (data::Span& span : sample.spans) {
    span.origin = in.Get<data::SpanOrigin>();
    span.tokens = in.GetList<int32_t>();
    span.logprobs = in.GetList<float>();
  }
  const std::string columns = in.GetText();
  if (!columns.empty()) {
    nlohmann::json row = nlohmann::json::parse(columns, nullptr, /*allow_exceptions=*/false);
    if (!row.is_discarded()) sample.columns = std::make_shared<const nlohmann::json>(std::move(row));
  }
  return sample;
}

}  // namespace

std::string EncodeCall(const ChildCall& call) {
  WireWriter out;
  out.Put<uint8_t>(call.whole_group);
  out.Put(call.limit_ms);
  out.Put<uint64_t>(call.samples.size());
  for (const RewardSample& sample : call.samples) PutSample(out, sample);
  return out.Take();
}

StatusOr<ChildCall> DecodeCall(const std::string& bytes) {
  WireReader in(bytes);
  ChildCall call;
  call.whole_group = in.Get<uint8_t>() != 0;
  call.limit_ms = in.Get<int64_t>();
  const uint64_t count = in.GetCount();
  for (uint64_t i = 0; in.ok() && i < count; ++i) call.samples.push_back(GetSample(in));
  if (!in.AtEnd()) return DataLossError("a call of ", bytes.size(), " bytes is malformed");
  return call;
}

std::string EncodeReply(const ChildReply& reply) {
  WireWriter out;
  out.Put<uint64_t>(reply.results.size());
  for (const RewardResult& result : reply.results) {
    out.Put(static_cast<uint8_t>(result.status));
    out.Put(result.score);
    out.Put(result.ms);
    out.PutText(result.message);
    out.Put<uint64_t>(result.components.size());
    for (const data::RewardComponent& component : result.components) {
      out.PutText(component.name);
      out.Put(component.value);
    }
  }
  out.Put<uint64_t>(reply.metrics.size());
  for (const auto& [name, sum] : reply.metrics) {
    out.PutText(name);
    out.Put(sum.sum);
    out.Put(sum.count);
  }
  return out.Take();
}

namespace {

// False: the status or a number is out of range.
bool GetResult(WireReader& in, RewardResult& result) {
  const auto status = in.Get<uint8_t>();
  result.score = in.Get<double>();
  result.ms = in.Get<double>();
  result.message = in.GetText();
  const uint64_t components = in.GetCount();
  for (uint64_t k = 0; in.ok() && k < components; ++k) {
    std::string name = in.GetText();
    result.components.push_back({std::move(name), in.Get<double>()});
  }
  result.status = static_cast<data::RewardStatus>(status);
  return status <= static_cast<uint8_t>(data::RewardStatus::kNotApplicable) && std::isfinite(result.score);
}

}  // namespace

StatusOr<ChildReply> DecodeReply(const std::string& bytes, size_t samples) {
  WireReader in(bytes);
  ChildReply reply;
  bool sound = in.GetCount() == samples;
  for (size_t i = 0; sound && in.ok() && i < samples; ++i)
    sound = GetResult(in, reply.results.emplace_back());
  const uint64_t metrics = sound ? in.GetCount() : 0;
  for (uint64_t i = 0; in.ok() && i < metrics; ++i) {
    const std::string name = in.GetText();
    reply.metrics[name] = {in.Get<double>(), in.Get<uint64_t>()};
  }
  if (!sound || !in.AtEnd())
    return DataLossError("the reward's child process sent a malformed reply of ", bytes.size(), " bytes");
  return reply;
}

}  // namespace volery::plugin
