#include "core/formats/parquet_rows.h"

#include <arrow/array.h>
#include <arrow/io/memory.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/util/float16.h>
#include <parquet/arrow/reader.h>

#include <set>

#include "core/formats/arrow_util.h"

namespace volery::formats {
namespace {

using arrow::Type;
using nlohmann::json;

bool IsSupported(const arrow::DataType& type) {
  switch (type.id()) {
    case Type::NA:
    case Type::BOOL:
    case Type::INT8:
    case Type::INT16:
    case Type::INT32:
    case Type::INT64:
    case Type::UINT8:
    case Type::UINT16:
    case Type::UINT32:
    case Type::UINT64:
    case Type::HALF_FLOAT:
    case Type::FLOAT:
    case Type::DOUBLE:
    case Type::STRING:
    case Type::LARGE_STRING:
    case Type::DATE32:
    case Type::DATE64:
    case Type::TIMESTAMP:
    case Type::TIME32:
    case Type::TIME64:
    case Type::DECIMAL128:
    case Type::DECIMAL256:
      return true;
    case Type::LIST:
    case Type::LARGE_LIST:
    case Type::FIXED_SIZE_LIST:
    case Type::STRUCT:
      for (const auto& field : type.fields()) {
        if (!IsSupported(*field->type())) return false;
      }
      return true;
    case Type::DICTIONARY:
      return IsSupported(*static_cast<const arrow::DictionaryType&>(type).value_type());
    default:
      return false;
  }
}

arrow::Status CheckSchema(const arrow::Schema& schema) {
  std::set<std::string> names;
  for (const auto& field : schema.fields()) {
    if (!names.insert(field->name()).second)
      return arrow::Status::Invalid("column \"", field->name(), "\" stands twice");
    if (!IsSupported(*field->type())) {
      return arrow::Status::Invalid("column \"", field->name(), "\" has type ", field->type()->ToString(),
                                    ", which can't become JSON; drop the column from the file");
    }
  }
  return arrow::Status::OK();
}

template <class ArrayType>
json Number(const arrow::Array& array, int64_t i) {
  return static_cast<const ArrayType&>(array).Value(i);
}

arrow::Result<json> ToJson(const arrow::Array& array, int64_t i);

template <class ArrayType>
arrow::Result<json> ListToJson(const arrow::Array& array, int64_t i) {
  const auto& list = static_cast<const ArrayType&>(array);
  json out = json::array();
  for (int64_t at = list.value_offset(i), end = at + list.value_length(i); at < end; ++at) {
    ARROW_ASSIGN_OR_RAISE(json element, ToJson(*list.values(), at));
    out.push_back(std::move(element));
  }
  return out;
}

arrow::Result<json> StructToJson(const arrow::Array& array, int64_t i) {
  const auto& fields = static_cast<const arrow::StructArray&>(array);
  json out = json::object();
  for (int k = 0; k < fields.num_fields(); ++k) {
    ARROW_ASSIGN_OR_RAISE(out[array.type()->field(k)->name()], ToJson(*fields.field(k), i));
  }
  return out;
}

arrow::Result<json> ToJson(const arrow::Array& array, int64_t i) {
  if (array.IsNull(i)) return json();
  switch (array.type_id()) {
    case Type::NA:
      return json();
    case Type::BOOL:
      return Number<arrow::BooleanArray>(array, i);
    case Type::INT8:
      return Number<arrow::Int8Array>(array, i);
    case Type::INT16:
      return Number<arrow::Int16Array>(array, i);
    case Type::INT32:
      return Number<arrow::Int32Array>(array, i);
    case Type::INT64:
      return Number<arrow::Int64Array>(array, i);
    case Type::UINT8:
      return Number<arrow::UInt8Array>(array, i);
    case Type::UINT16:
      return Number<arrow::UInt16Array>(array, i);
    case Type::UINT32:
      return Number<arrow::UInt32Array>(array, i);
    case Type::UINT64:
      return Number<arrow::UInt64Array>(array, i);
    case Type::FLOAT:
      return Number<arrow::FloatArray>(array, i);
    case Type::DOUBLE:
      return Number<arrow::DoubleArray>(array, i);
    case Type::HALF_FLOAT:
      return json(arrow::util::Float16::FromBits(static_cast<const arrow::HalfFloatArray&>(array).Value(i))
                      .ToFloat());
    case Type::STRING:
      return json(static_cast<const arrow::StringArray&>(array).GetString(i));
    case Type::LARGE_STRING:
      return json(static_cast<const arrow::LargeStringArray&>(array).GetString(i));
    case Type::LIST:
      return ListToJson<arrow::ListArray>(array, i);
    case Type::LARGE_LIST:
      return ListToJson<arrow::LargeListArray>(array, i);
    case Type::FIXED_SIZE_LIST:
      return ListToJson<arrow::FixedSizeListArray>(array, i);
    case Type::STRUCT:
      return StructToJson(array, i);
    case Type::DICTIONARY: {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
      return ToJson(*coded.dictionary(), coded.GetValueIndex(i));
    }
    default:
      break;
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Scalar> scalar, array.GetScalar(i));
  return json(scalar->ToString());
}

arrow::Result<json> RowToJson(const arrow::RecordBatch& batch, int64_t i) {
  json object = json::object();
  for (int k = 0; k < batch.num_columns(); ++k) {
    ARROW_ASSIGN_OR_RAISE(object[batch.column_name(k)], ToJson(*batch.column(k), i));
  }
  return object;
}

}  // namespace

Status ReadParquetRows(std::span<const std::byte> bytes, const std::string& where,
                       const std::function<Status(int64_t row, json object)>& visit) {
  Status visited;
  Status read = CallArrow(where, [&]() -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(auto reader,
                          parquet::arrow::OpenFile(InputOver(bytes), arrow::default_memory_pool()));
    ARROW_ASSIGN_OR_RAISE(auto batches, reader->GetRecordBatchReader());
    ARROW_RETURN_NOT_OK(CheckSchema(*batches->schema()));
    for (int64_t row = 0;;) {
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::RecordBatch> batch, batches->Next());
      if (batch == nullptr) return arrow::Status::OK();
      ARROW_RETURN_NOT_OK(batch->ValidateFull());
      for (int64_t i = 0; i < batch->num_rows(); ++i, ++row) {
        ARROW_ASSIGN_OR_RAISE(json object, RowToJson(*batch, i));
        visited = visit(row, std::move(object));
        if (!visited.ok()) return arrow::Status::Cancelled("stopped by the visitor");
      }
    }
  });
  return visited.ok() ? read : visited;
}

}  // namespace volery::formats
