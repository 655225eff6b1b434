// The batch-reduce GEMM on bfloat16 operands, with float32 sums: as in brgemm.h, except that pairs of k are adjacent in
// a panel of B, as the instructions for bfloat16 want them.
#pragma once

#include "cpu/features.h"
#include "cpu/isa/brgemm.h"
#include "cpu/isa/brgemm_tiles.h"
#include "pycnn/dtype.h"

namespace pycnn::cpu::PYCNN_ISA {

struct BFloatProduct {
  const BFloat16* a;  ///< rows: a[i·a_row + k]
  const BFloat16*
      b;  ///< a panel: b[(k/2)·2·width + 2·j + k%2], zeros for n ≤ j < width and for k ≤ depth < panel_depth
};

/// The sums Σ over products Σ_k a[i,k]·b[k,j] for rows i < m and columns j < n ≤ width go to c, or are added to what
/// it holds. If `rounded` is given the result goes there instead, and c is only read.
struct BFloatBatchReduce {
  const BFloatProduct* products;
  int64_t count;
  int64_t m, n, k;
  int64_t a_row;
  int64_t width;  ///< bfloat_panel_width() of the matrix that the panel is part of
  float* c;
  int64_t c_row;
  bool accumulate;
  BFloat16* rounded;
  int64_t rounded_row;
  const char* ahead = nullptr;  ///< memory that is wanted in L2 soon and is asked for along the way, if any
  int64_t ahead_bytes = 0;
};

/// How this level multiplies bfloat16: what the processor is best at, as far as the level has it.
BFloat16Products bfloat_products();
/// Whether that is faster than float32.
PYCNN_INLINE bool bfloat_is_fast() { return bfloat_products() != BFloat16Products::Widening; }

#if defined(__AVX512F__)
/// sums[i] += left[2i]·right[2i] + left[2i + 1]·right[2i + 1], where the processor has that instruction. As assembly,
/// so that the level itself need not ask for AVX512_BF16.
PYCNN_INLINE void add_pairs(Vector<float>& sums, Vector<float> left, Vector<float> right) {
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(left), "v"(right));
}
#endif

/// Columns of a panel of B with n columns in all.
int64_t bfloat_panel_width(int64_t n);
/// Values of k in a panel whose products have k: even, and for tiles a multiple of their depth.
int64_t bfloat_panel_depth(int64_t k);

/// A panel of B from b[k·b_row + j·b_column], k < `k` and j < n ≤ width; zeros up to width and bfloat_panel_depth(k).
void pack_bfloat_panel(const BFloat16* b, int64_t b_row, int64_t b_column, int64_t k, int64_t n, int64_t width,
                       BFloat16* panel);
/// to[i·to_row + k] = a[i·a_row + k·a_column] for i < m and k < `k`: rows with adjacent k.
void copy_bfloat_rows(const BFloat16* a, int64_t a_row, int64_t a_column, int64_t m, int64_t k, BFloat16* to,
                      int64_t to_row);
/// Rows of `width` float32 values that bfloat16 represents, two by two: to[2·j] = even[j], to[2·j + 1] = odd[j].
void interleave_bfloat_rows(const float* even, const float* odd, int64_t width, BFloat16* to);
/// How many pixels are transposed at once.
inline constexpr int64_t transposed_pixels = 2 * lanes<float>;
/// rows[i][x] = pixels[x][i] for i < channels and x < count, a multiple of transposed_pixels.
void pack_transposed_pixels(const BFloat16* const* pixels, int64_t count, int64_t channels, BFloat16* to,
                            int64_t to_row);
/// Panels of pairs of pixels, each panel_elements behind the last: of column j = panel·width + i < n
/// panel[x/2·2·width + 2·i + x%2] = pixels[x][j], zeros for n ≤ j.
void pack_pixel_pairs(const BFloat16* const* pixels, int64_t count, int64_t n, int64_t width, int64_t panel_elements,
                      BFloat16* to);
/// rounded[i·rounded_row + j] = c[i·c_row + j], rounded as the products' instructions round.
void round_to_bfloat(const float* c, int64_t c_row, int64_t m, int64_t n, BFloat16* rounded, int64_t rounded_row);

/// The microkernel. Make one per chunk of work and release it at its end: it holds the thread's tile registers. (Not a
/// destructor's work, which would bring exception tables, and with them symbols that levels share.)
class BFloatGemm {
 public:
  BFloatGemm() : products_(bfloat_products()) {}
  BFloatGemm(const BFloatGemm&) = delete;
  void run(const BFloatBatchReduce& g);
  void release() { tiles_.release(); }

 private:
  BFloat16Products products_;
  tiles::Gemm tiles_;
};

}  // namespace pycnn::cpu::PYCNN_ISA
