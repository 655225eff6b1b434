// Files of tensors. Readers trust nothing; writers leave a whole file or none.
#pragma once

#include <map>
#include <string>

#include "pycnn/tensor.h"

namespace pycnn::io {

struct TensorFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads a safetensors file: 8 bytes length, a JSON header, the elements. Everything is checked before anything is
/// returned; throws ValueError naming the file and what is wrong with it.
TensorFile load_safetensors(const std::string& path);
/// Writes to a temporary file beside it, syncs and renames; on failure the old file is untouched and no temporary
/// stays.
void save_safetensors(const std::string& path, const TensorFile& file);

/// Reads an IDX file (the format of MNIST; not compressed) as uint8 … float64 tensor.
Tensor load_idx(const std::string& path);

}  // namespace pycnn::io
