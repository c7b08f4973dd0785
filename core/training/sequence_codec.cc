#include "core/training/sequence_codec.h"

#include <cstring>

namespace volery::training {
namespace {

class Writer {
 public:
  template <class Value>
  void Put(Value value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(Value));
  }
  template <class Value>
  void PutAll(const std::vector<Value>& values) {
    Put<uint64_t>(values.size());
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value));
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}
  bool good() const { return good_; }
  bool done() const { return good_ && at_ == bytes_.size(); }

  template <class Value>
  Value Get() {
    Value value{};
    if (!Has(sizeof(Value))) return value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(Value));
    at_ += sizeof(Value);
    return value;
  }
  template <class Value>
  std::vector<Value> GetAll() {
    const auto count = Get<uint64_t>();
    if (count > bytes_.size() || !Has(count * sizeof(Value))) {
      good_ = false;
      return {};
    }
    std::vector<Value> values(count);
    if (count > 0) std::memcpy(values.data(), bytes_.data() + at_, count * sizeof(Value));
    at_ += count * sizeof(Value);
    return values;
  }

 private:
  bool Has(size_t size) { return good_ = good_ && bytes_.size() - at_ >= size; }

  const std::string& bytes_;
  size_t at_ = 0;
  bool good_ = true;
};

}  // namespace

std::string EncodeSequences(std::span<const data::TrainSequence> sequences) {
  Writer out;
  out.Put<uint64_t>(sequences.size());
  for (const data::TrainSequence& s : sequences) {
    out.Put(s.group);
    out.Put(s.prompt_length);
    out.PutAll(s.tokens);
    out.PutAll(s.loss_mask);
    out.PutAll(s.behaviour);
    out.PutAll(s.versions);
    out.PutAll(s.oldest_states);
    out.Put(s.temperature);
    out.Put(s.advantage);
  }
  return out.Take();
}

StatusOr<std::vector<data::TrainSequence>> DecodeSequences(const std::string& bytes) {
  Reader in(bytes);
  const auto count = in.Get<uint64_t>();
  std::vector<data::TrainSequence> out;
  for (uint64_t i = 0; i < count && in.good(); ++i) {
    data::TrainSequence s;
    s.group = in.Get<int64_t>();
    s.prompt_length = in.Get<int64_t>();
    s.tokens = in.GetAll<int32_t>();
    s.loss_mask = in.GetAll<uint8_t>();
    s.behaviour = in.GetAll<float>();
    s.versions = in.GetAll<int64_t>();
    s.oldest_states = in.GetAll<int64_t>();
    s.temperature = in.Get<float>();
    s.advantage = in.Get<double>();
    out.push_back(std::move(s));
  }
  if (!in.done())
    return DataLossError("the batch that rank 0 sent is damaged (", bytes.size(),
                         " bytes); are all ranks the same build?");
  return out;
}

}  // namespace volery::training
