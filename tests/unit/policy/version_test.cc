#include "core/policy/version.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>

namespace volery::policy {
namespace {

TEST(Version, ListsTensorsByNameWithTheirBytes) {
  const at::Tensor a = at::arange(6, at::TensorOptions().dtype(at::kFloat)).reshape({2, 3});
  const at::Tensor b = at::ones({4}, at::TensorOptions().dtype(at::kBFloat16));
  const auto version = MakeVersion(VersionId(7), {{"b", b}, {"a", a}, {"empty", at::zeros({0, 3})}});
  EXPECT_EQ(version->id(), VersionId(7));
  ASSERT_EQ(version->tensors().size(), 3u);
  EXPECT_EQ(version->tensors()[0].name, "a");
  EXPECT_EQ(version->tensors()[0].dtype, formats::DType::kF32);
  EXPECT_EQ(version->tensors()[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(version->tensors()[1].dtype, formats::DType::kBf16);
  ASSERT_EQ(version->bytes(0).size(), 24u);
  EXPECT_EQ(std::memcmp(version->bytes(0).data(), a.const_data_ptr(), 24), 0);
  EXPECT_EQ(version->bytes(1).size(), 8u);
  EXPECT_EQ(version->bytes(2).size(), 0u);
  const auto named = NamedTensorsOf(*version);
  ASSERT_TRUE(named.ok());
  EXPECT_EQ(named->at("a").const_data_ptr(), a.const_data_ptr());  // shared, not copied
}

// A version as the broadcast hands it over: bytes only.
class BytesVersion : public data::WeightVersion {
 public:
  BytesVersion() : infos_{{"x", formats::DType::kF32, {3}}} {}
  VersionId id() const override { return VersionId(1); }
  const std::vector<data::TensorInfo>& tensors() const override { return infos_; }
  std::span<const std::byte> bytes(size_t) const override {
    return {reinterpret_cast<const std::byte*>(values_), size_};
  }
  std::vector<data::TensorInfo> infos_;
  float values_[3] = {1, 2, 3};
  size_t size_ = 12;
};

TEST(Version, CopiesTheTensorsOfForeignVersions) {
  BytesVersion version;
  const auto named = NamedTensorsOf(version);
  ASSERT_TRUE(named.ok()) << named.status();
  version.values_[1] = 9;
  EXPECT_TRUE(at::equal(named->at("x"), at::tensor({1.0f, 2.0f, 3.0f})));
  version.size_ = 8;
  EXPECT_EQ(NamedTensorsOf(version).status().code(), StatusCode::kInvalidArgument);
}

TEST(Version, TypesMapBothWays) {
  for (auto type :
       {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kByte, at::kBool}) {
    const auto dtype = DTypeOf(type);
    ASSERT_TRUE(dtype.has_value());
    EXPECT_EQ(ScalarTypeOf(*dtype), type);
    EXPECT_EQ(formats::DTypeSize(*dtype), c10::elementSize(type));
  }
  EXPECT_FALSE(DTypeOf(at::kComplexFloat).has_value());
}

TEST(VersionDeathTest, RefusesTensorsThatCouldChange) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(MakeVersion(VersionId(0), {{"x", at::zeros({2, 3}).t()}}), "is_contiguous");
  EXPECT_DEATH(MakeVersion(VersionId(0), {{"x", at::zeros({2}).requires_grad_()}}), "requires_grad");
}

}  // namespace
}  // namespace volery::policy
