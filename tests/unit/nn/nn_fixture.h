#pragma once
// What the tests of nn share: inputs of a seed, distances and gradients in float64.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <vector>

namespace volery::nn {

inline at::Tensor Random(at::IntArrayRef shape, at::ScalarType dtype, uint64_t seed, bool grad = false) {
  at::Tensor out = at::randn(shape, at::detail::createCPUGenerator(seed), at::dtype(at::kDouble)).to(dtype);
  return out.set_requires_grad(grad);
}
inline double Difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}
// Of sum(y * fixed random numbers), by each input.
inline std::vector<at::Tensor> Gradients(const at::Tensor& y, std::vector<at::Tensor> inputs) {
  for (at::Tensor& x : inputs) x.mutable_grad() = at::Tensor();
  (y.to(at::kDouble) * Random(y.sizes(), at::kDouble, 99)).sum().backward();
  std::vector<at::Tensor> out;
  for (const at::Tensor& x : inputs) out.push_back(x.grad().clone());
  return out;
}

// Sets the threads of this thread until it goes out of scope.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }

 private:
  int before_;
};

}  // namespace volery::nn
