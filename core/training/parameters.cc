#include "core/training/parameters.h"

#include <ATen/ATen.h>

#include "core/tensor/guard.h"

namespace volery::training {
namespace {

std::string ShapeText(at::IntArrayRef shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += Cat(i == 0 ? "" : ", ", shape[i]);
  return out + "]";
}

Status CheckInitial(const std::vector<native::TensorSpec>& specs, const native::NamedTensors& initial) {
  for (const native::TensorSpec& spec : specs) {
    const auto found = initial.find(spec.name);
    if (found == initial.end())
      return InvalidError("tensor '", spec.name, "' of the model is missing from its weights");
    if (!at::isFloatingType(found->second.scalar_type()) ||
        found->second.sizes() != at::IntArrayRef(spec.shape)) {
      return InvalidError("tensor '", spec.name, "' is ", c10::toString(found->second.scalar_type()), " ",
                          ShapeText(found->second.sizes()), "; the model needs floats ",
                          ShapeText(spec.shape));
    }
  }
  if (initial.size() == specs.size()) return OkStatus();
  for (const auto& [name, tensor] : initial) {
    bool known = false;
    for (const native::TensorSpec& spec : specs) known = known || spec.name == name;
    if (!known) return InvalidError("tensor '", name, "' doesn't belong to the model");
  }
  return InvalidError("the model names a tensor twice");
}

}  // namespace

StatusOr<std::unique_ptr<ParameterStore>> ParameterStore::Create(const std::vector<native::TensorSpec>& specs,
                                                                 const native::NamedTensors& initial,
                                                                 at::ScalarType compute, at::Device device,
                                                                 const std::set<std::string>& frozen) {
  if (compute != at::kFloat && compute != at::kDouble && compute != at::kBFloat16) {
    return InvalidError("cannot train in ", c10::toString(compute),
                        "; use float32, bfloat16 (with float32 masters) or float64");
  }
  VOLERY_RETURN_IF_ERROR(CheckInitial(specs, initial));
  return tensor::Guard("allocating weights and gradients", [&] {
    std::unique_ptr<ParameterStore> store(new ParameterStore());
    int64_t total = 0;
    for (const native::TensorSpec& spec : specs) {
      if (frozen.contains(spec.name)) {
        store->Freeze(spec.name, initial.at(spec.name), compute, device);
        continue;
      }
      const int64_t count = initial.at(spec.name).numel();
      store->ranges_.push_back({spec.name, spec.shape, total, count, spec.weight_decay, spec.lr_scale});
      total += count;
    }
    const auto options =
        at::TensorOptions().device(device).dtype(compute == at::kDouble ? at::kDouble : at::kFloat);
    store->masters_ = at::empty({total}, options);
    store->gradients_ = at::zeros({total}, options);
    const at::NoGradGuard no_grad;
    for (const ParameterRange& range : store->ranges_)
      View(store->masters_, range).copy_(initial.at(range.name));
    store->MakeLeaves(compute);
    return store;
  });
}

void ParameterStore::Freeze(const std::string& name, const at::Tensor& value, at::ScalarType compute,
                            at::Device device) {
  const at::NoGradGuard no_grad;
  const auto dtype = compute == at::kDouble ? at::kDouble : at::kFloat;
  frozen_[name] = value.detach().to(device, dtype).contiguous();
  bound_[name] = frozen_[name].to(compute);
}

void ParameterStore::MakeLeaves(at::ScalarType compute) {
  if (compute == at::kBFloat16) cast_ = masters_.to(at::kBFloat16);
  const at::Tensor& values = cast_.defined() ? cast_ : masters_;
  for (const ParameterRange& range : ranges_) {
    at::Tensor leaf = View(values, range).detach().requires_grad_();
    leaf.mutable_grad() = View(gradients_, range);  // float32 for bfloat16 leaves too
    bound_[range.name] = leaf;
  }
}

at::Tensor ParameterStore::View(const at::Tensor& flat, const ParameterRange& range) {
  return flat.narrow(0, range.offset, range.count).view(range.shape);
}

void ParameterStore::ZeroGradients() {
  const at::NoGradGuard no_grad;
  gradients_.zero_();
}

void ParameterStore::PublishMasters() {
  if (!cast_.defined()) return;
  const at::NoGradGuard no_grad;
  cast_.copy_(masters_);
}

void ParameterStore::SwapMasters(at::Tensor& other) {
  const at::NoGradGuard no_grad;
  constexpr int64_t kChunk = int64_t{1} << 20;
  for (int64_t begin = 0; begin < masters_.numel(); begin += kChunk) {
    const int64_t count = std::min(kChunk, masters_.numel() - begin);
    at::Tensor mine = masters_.narrow(0, begin, count), theirs = other.narrow(0, begin, count);
    const at::Tensor kept = mine.clone();
    mine.copy_(theirs);
    theirs.copy_(kept);
  }
  PublishMasters();
}

native::NamedTensors ParameterStore::Current() const {
  const at::NoGradGuard no_grad;
  native::NamedTensors out;
  for (const ParameterRange& range : ranges_)
    out[range.name] = View(masters_, range).to(at::kCPU, at::kFloat);
  for (const auto& [name, value] : frozen_) out[name] = value.to(at::kCPU, at::kFloat);
  return out;
}

native::NamedTensors ParameterStore::Copy(at::ScalarType dtype) const {
  const at::NoGradGuard no_grad;
  native::NamedTensors out;
  for (const ParameterRange& range : ranges_) {
    at::Tensor copy = at::empty(range.shape, at::TensorOptions().dtype(dtype));
    out[range.name] = copy.copy_(View(masters_, range));
  }
  for (const auto& [name, value] : frozen_)
    out[name] = at::empty(value.sizes(), at::TensorOptions().dtype(dtype)).copy_(value);
  return out;
}

}  // namespace volery::training
