#include "core/formats/rollout_file.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/io/memory.h>
#include <arrow/table.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>

#include "core/formats/arrow_util.h"

namespace volery::formats {
namespace {

using ArrayPtr = std::shared_ptr<arrow::Array>;
using TypePtr = std::shared_ptr<arrow::DataType>;

// Columns whose absence DecodeRollouts tolerates.
constexpr const char* kOwnColumns[] = {"group_id", "sample", "versions", "stop_reason"};

// Calls visit(name, member, type) for every column in order until one fails.
template <class Visit>
arrow::Status ForEachColumn(Visit visit) {
  const TypePtr int32s = arrow::list(arrow::int32()), floats = arrow::list(arrow::float32());
  ARROW_RETURN_NOT_OK(visit("input_tokens", &RolloutRow::input_tokens, int32s));
  ARROW_RETURN_NOT_OK(visit("output_tokens", &RolloutRow::output_tokens, int32s));
  ARROW_RETURN_NOT_OK(visit("input_logprobs", &RolloutRow::input_logprobs, floats));
  ARROW_RETURN_NOT_OK(visit("output_logprobs", &RolloutRow::output_logprobs, floats));
  ARROW_RETURN_NOT_OK(visit("prompt", &RolloutRow::prompt, arrow::utf8()));
  ARROW_RETURN_NOT_OK(visit("problem_id", &RolloutRow::problem_id, arrow::utf8()));
  ARROW_RETURN_NOT_OK(visit("completion", &RolloutRow::completion, arrow::utf8()));
  ARROW_RETURN_NOT_OK(visit("advantages", &RolloutRow::advantages, arrow::float32()));
  ARROW_RETURN_NOT_OK(visit("rewards", &RolloutRow::rewards, arrow::float32()));
  ARROW_RETURN_NOT_OK(visit("task_rewards", &RolloutRow::task_rewards, arrow::float32()));
  ARROW_RETURN_NOT_OK(visit("length_penalties", &RolloutRow::length_penalties, arrow::float32()));
  ARROW_RETURN_NOT_OK(visit("proofs", &RolloutRow::proofs, arrow::binary()));
  ARROW_RETURN_NOT_OK(visit("step", &RolloutRow::step, arrow::int32()));
  ARROW_RETURN_NOT_OK(visit("target_lengths", &RolloutRow::target_lengths, arrow::int32()));
  ARROW_RETURN_NOT_OK(visit("task_type", &RolloutRow::task_type, arrow::utf8()));
  ARROW_RETURN_NOT_OK(visit("seed", &RolloutRow::seed, arrow::int64()));
  ARROW_RETURN_NOT_OK(visit("temperature", &RolloutRow::temperature, arrow::float32()));
  ARROW_RETURN_NOT_OK(visit("group_id", &RolloutRow::group_id, arrow::uint64()));
  ARROW_RETURN_NOT_OK(visit("sample", &RolloutRow::sample, arrow::int32()));
  ARROW_RETURN_NOT_OK(visit("versions", &RolloutRow::versions, arrow::list(arrow::int64())));
  return visit("stop_reason", &RolloutRow::stop_reason, arrow::utf8());
}

template <class T>
arrow::Status Append(const T& value, arrow::ArrayBuilder* builder) {
  return static_cast<typename arrow::CTypeTraits<T>::BuilderType*>(builder)->Append(value);
}
arrow::Status Append(const std::string& value, arrow::ArrayBuilder* builder) {
  return static_cast<arrow::BinaryBuilder*>(builder)->Append(value);  // the base of StringBuilder too
}
template <class T>
arrow::Status Append(const std::vector<T>& values, arrow::ArrayBuilder* builder) {
  auto* list = static_cast<arrow::ListBuilder*>(builder);
  ARROW_RETURN_NOT_OK(list->Append());
  if (values.empty()) return arrow::Status::OK();
  return static_cast<typename arrow::CTypeTraits<T>::BuilderType*>(list->value_builder())
      ->AppendValues(values.data(), static_cast<int64_t>(values.size()));
}
template <class T>
arrow::Status Append(const std::optional<T>& value, arrow::ArrayBuilder* builder) {
  return value ? Append(*value, builder) : builder->AppendNull();
}

arrow::Result<std::shared_ptr<arrow::Table>> ToArrow(const RolloutTable& table) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  ARROW_RETURN_NOT_OK(ForEachColumn([&](const char* name, auto member, const TypePtr& type) -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(std::unique_ptr<arrow::ArrayBuilder> builder, arrow::MakeBuilder(type));
    for (const RolloutRow& row : table) ARROW_RETURN_NOT_OK(Append(row.*member, builder.get()));
    ARROW_ASSIGN_OR_RAISE(ArrayPtr array, builder->Finish());
    arrow::Status valid = array->ValidateFull();
    if (!valid.ok()) return valid.WithMessage("column \"", name, "\": ", valid.message());
    fields.push_back(arrow::field(name, type));
    arrays.push_back(std::move(array));
    return arrow::Status::OK();
  }));
  return arrow::Table::Make(arrow::schema(fields), arrays, static_cast<int64_t>(table.size()));
}

template <class T>
arrow::Status Take(const arrow::Array& array, int64_t i, T* value) {
  if (array.IsNull(i)) return arrow::Status::Invalid("a null in row ", i);
  *value = static_cast<const typename arrow::CTypeTraits<T>::ArrayType&>(array).Value(i);
  return arrow::Status::OK();
}
arrow::Status Take(const arrow::Array& array, int64_t i, std::string* value) {
  if (array.IsNull(i)) return arrow::Status::Invalid("a null in row ", i);
  *value = static_cast<const arrow::BinaryArray&>(array).GetString(i);
  return arrow::Status::OK();
}
template <class T>
arrow::Status Take(const arrow::Array& array, int64_t i, std::vector<T>* values) {
  if (array.IsNull(i)) return arrow::Status::Invalid("a null in row ", i);
  const auto& list = static_cast<const arrow::ListArray&>(array);
  const auto& all = static_cast<const typename arrow::CTypeTraits<T>::ArrayType&>(*list.values());
  values->resize(static_cast<size_t>(list.value_length(i)));
  for (size_t k = 0; k < values->size(); ++k) {
    const int64_t at = list.value_offset(i) + static_cast<int64_t>(k);
    if (all.IsNull(at)) return arrow::Status::Invalid("a null inside the list of row ", i);
    (*values)[k] = all.Value(at);
  }
  return arrow::Status::OK();
}
template <class T>
arrow::Status Take(const arrow::Array& array, int64_t i, std::optional<T>* value) {
  if (array.IsNull(i)) return arrow::Status::OK();
  return Take(array, i, &value->emplace());
}

// Equal but for the names of list children.
bool SameType(const arrow::DataType& a, const arrow::DataType& b) {
  if (a.id() != b.id()) return false;
  return a.id() != arrow::Type::LIST || a.field(0)->type()->Equals(b.field(0)->type());
}

bool IsOwn(const char* name) {
  for (const char* own : kOwnColumns) {
    if (std::string_view(own) == name) return true;
  }
  return false;
}

arrow::Status FromArrowTable(const arrow::Table& table, RolloutTable* rows) {
  rows->resize(static_cast<size_t>(table.num_rows()));
  bool own = false;
  for (const char* name : kOwnColumns) own = own || table.schema()->GetFieldIndex(name) >= 0;
  return ForEachColumn([&](const char* name, auto member, const TypePtr& type) -> arrow::Status {
    if (!own && IsOwn(name)) return arrow::Status::OK();
    const int index = table.schema()->GetFieldIndex(name);
    if (index < 0)
      return arrow::Status::Invalid("no column \"", name, "\" (or it stands twice); this is no rollout file");
    const arrow::ChunkedArray& column = *table.column(index);
    if (!SameType(*column.type(), *type)) {
      return arrow::Status::Invalid("column \"", name, "\" is of type ", column.type()->ToString(),
                                    ", expected ", type->ToString());
    }
    auto row = rows->begin();
    for (const ArrayPtr& chunk : column.chunks()) {
      for (int64_t i = 0; i < chunk->length(); ++i, ++row) {
        arrow::Status taken = Take(*chunk, i, &((*row).*member));
        if (!taken.ok()) return taken.WithMessage("column \"", name, "\" has ", taken.message());
      }
    }
    return arrow::Status::OK();
  });
}

Status CheckLengths(const RolloutTable& rows, const std::string& where) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const RolloutRow& row = rows[i];
    const size_t tokens = row.output_tokens.size();
    if (row.output_logprobs && row.output_logprobs->size() != tokens) {
      return InvalidError(where, ": row ", i, " has ", tokens, " output tokens but ",
                          row.output_logprobs->size(), " output_logprobs");
    }
    if (row.sample >= 0 && row.versions.size() != tokens) {
      return InvalidError(where, ": row ", i, " has ", tokens, " output tokens but ", row.versions.size(),
                          " versions");
    }
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::string> EncodeRollouts(const RolloutTable& table) {
  std::string bytes;
  Status status = CallArrow("rollout file", [&]() -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Table> columns, ToArrow(table));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::io::BufferOutputStream> out,
                          arrow::io::BufferOutputStream::Create());
    auto properties = parquet::WriterProperties::Builder().compression(parquet::Compression::SNAPPY)->build();
    const int64_t one_group = std::max<int64_t>(columns->num_rows(), 1);
    ARROW_RETURN_NOT_OK(
        parquet::arrow::WriteTable(*columns, arrow::default_memory_pool(), out, one_group, properties));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, out->Finish());
    bytes = buffer->ToString();
    return arrow::Status::OK();
  });
  if (!status.ok()) return status;
  return bytes;
}

StatusOr<RolloutTable> DecodeRollouts(std::span<const std::byte> bytes, const std::string& where) {
  RolloutTable rows;
  VOLERY_RETURN_IF_ERROR(CallArrow(where, [&]() -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(auto reader,
                          parquet::arrow::OpenFile(InputOver(bytes), arrow::default_memory_pool()));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Table> table, reader->ReadTable());
    ARROW_RETURN_NOT_OK(table->ValidateFull());
    return FromArrowTable(*table, &rows);
  }));
  VOLERY_RETURN_IF_ERROR(CheckLengths(rows, where));
  return rows;
}

}  // namespace volery::formats
