#include "segment_operators.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <map>

namespace volery::nn {
namespace {

// Members of equal ancestors, longest first, cut where padding would waste more than a third.
std::vector<std::vector<size_t>> MakeGroups(const std::vector<SegmentRange>& segments) {
  std::map<int64_t, std::vector<size_t>> by_parent;
  for (size_t i = 0; i < segments.size(); i++) by_parent[segments[i].parent].push_back(i);
  const auto length = [&](size_t i) { return segments[i].end - segments[i].begin; };
  std::vector<std::vector<size_t>> groups;
  for (auto& [parent, members] : by_parent) {
    std::stable_sort(members.begin(), members.end(),
                     [&](size_t a, size_t b) { return length(a) > length(b); });
    for (size_t i : members) {
      if (i == members.front() || length(i) * 3 < length(groups.back().front()) * 2) groups.emplace_back();
      groups.back().push_back(i);
    }
  }
  return groups;
}

at::Tensor RowIndex(const std::vector<int64_t>& rows, int64_t tokens, at::Device device) {
  bool identity = static_cast<int64_t>(rows.size()) == tokens;
  for (size_t i = 0; identity && i < rows.size(); i++) identity = rows[i] == static_cast<int64_t>(i);
  return identity ? at::Tensor() : at::tensor(rows, at::kLong).to(device);
}

// Own tokens causally, the prefix in full.
at::Tensor CausalMask(int64_t length, int64_t prefix, at::ScalarType dtype, at::Device device) {
  at::Tensor mask = at::full({length, prefix + length}, -std::numeric_limits<double>::infinity(),
                             at::dtype(dtype).device(device));
  return mask.triu(prefix + 1);
}

at::Tensor Select(const at::Tensor& x, const at::Tensor& rows) {
  return rows.defined() ? x.index_select(0, rows) : x;
}

// [count * length, kv_heads, D] -> [count, heads, length, D], each key head repeated for its queries.
at::Tensor RepeatHeads(const at::Tensor& x, int64_t count, int64_t repeats) {
  const int64_t kv_heads = x.size(1), dim = x.size(2);
  at::Tensor heads = x.view({count, -1, kv_heads, dim}).transpose(1, 2);
  if (repeats == 1) return heads;
  return heads.unsqueeze(2)
      .expand({count, kv_heads, repeats, -1, dim})
      .reshape({count, kv_heads * repeats, -1, dim});
}

}  // namespace

std::vector<int64_t> AncestorTokens(const std::vector<SegmentRange>& segments, int64_t parent) {
  std::vector<int64_t> chain;
  for (int64_t p = parent; p >= 0; p = segments[p].parent) chain.push_back(p);
  std::vector<int64_t> out;
  for (auto p = chain.rbegin(); p != chain.rend(); ++p)
    for (int64_t t = segments[*p].begin; t < segments[*p].end; t++) out.push_back(t);
  return out;
}

SegmentOperators::SegmentOperators(const std::vector<SegmentRange>& segments, int64_t tokens,
                                   at::ScalarType dtype, at::Device device) {
  std::vector<int64_t> query_rows, key_rows, output_rows(tokens);
  for (const std::vector<size_t>& members : MakeGroups(segments)) {
    const SegmentRange& longest = segments[members.front()];
    const std::vector<int64_t> prefix = AncestorTokens(segments, longest.parent);
    Group group{static_cast<int64_t>(members.size()),
                longest.end - longest.begin,
                static_cast<int64_t>(prefix.size()),
                {}};
    if (group.prefix > 0) group.mask = CausalMask(group.length, group.prefix, dtype, device);
    for (size_t member : members) {
      const SegmentRange& s = segments[member];
      key_rows.insert(key_rows.end(), prefix.begin(), prefix.end());
      for (int64_t i = 0; i < group.length; i++) {
        const int64_t row = std::min(s.begin + i, s.end - 1);
        if (s.begin + i < s.end) output_rows[row] = static_cast<int64_t>(query_rows.size());
        query_rows.push_back(row);
        key_rows.push_back(row);
      }
    }
    groups_.push_back(std::move(group));
  }
  query_rows_ = RowIndex(query_rows, tokens, device);
  key_rows_ = RowIndex(key_rows, tokens, device);
  output_rows_ = RowIndex(output_rows, static_cast<int64_t>(query_rows.size()), device);
}

at::Tensor SegmentOperators::Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    double scale) const {
  const int64_t heads = q.size(1), dim = q.size(2), repeats = heads / k.size(1);
  std::vector<int64_t> query_counts, key_counts;
  for (const Group& group : groups_) {
    query_counts.push_back(group.count * group.length);
    key_counts.push_back(group.count * (group.prefix + group.length));
  }
  const auto queries = Select(q, query_rows_).split_with_sizes(query_counts);
  const auto keys = Select(k, key_rows_).split_with_sizes(key_counts);
  const auto values = Select(v, key_rows_).split_with_sizes(key_counts);
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i < groups_.size(); i++) {
    const Group& group = groups_[i];
    const std::optional<at::Tensor> mask = group.mask.defined() ? std::optional(group.mask) : std::nullopt;
    const at::Tensor y = at::scaled_dot_product_attention(
        queries[i].view({group.count, group.length, heads, dim}).transpose(1, 2),
        RepeatHeads(keys[i], group.count, repeats), RepeatHeads(values[i], group.count, repeats), mask, 0.0,
        !mask.has_value(), scale);
    outputs.push_back(y.transpose(1, 2).reshape({-1, heads * dim}));
  }
  return Select(outputs.size() == 1 ? outputs[0] : at::cat(outputs), output_rows_);
}

}  // namespace volery::nn
