// Memory for the small objects that a step makes and drops by the thousand: nodes, cells, handles.
#pragma once

#include <cstddef>
#include <new>

namespace pycnn {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool pool_keeps_blocks = false;  // so that the sanitizers see every object's end
#else
inline constexpr bool pool_keeps_blocks = true;
#endif

/// Freed blocks of one size, kept by the thread that freed them.
template <size_t Bytes>
class BlockPool {
 public:
  static void* take() {
    Kept& kept = mine();
    if (kept.first == nullptr) return ::operator new(Bytes);
    Free* block = kept.first;
    kept.first = block->next;
    --kept.count;
    return block;
  }

  static void give(void* memory) noexcept {
    Kept& kept = mine();
    if (!pool_keeps_blocks || kept.count >= most || closed()) return ::operator delete(memory);
    Free* block = static_cast<Free*>(memory);
    block->next = kept.first;
    kept.first = block;
    ++kept.count;
  }

 private:
  static constexpr int most = 4096;
  struct Free {
    Free* next;
  };
  static_assert(Bytes >= sizeof(Free));
  // Trivial, so that objects that outlive the thread's other variables may still come and go.
  struct Kept {
    Free* first;
    int count;
  };
  struct Closer {
    ~Closer() {
      closed() = true;
      Kept& kept = mine();
      while (kept.first != nullptr) {
        Free* block = kept.first;
        kept.first = block->next;
        ::operator delete(block);
      }
    }
  };
  static Kept& mine() {
    thread_local Kept kept{nullptr, 0};
    thread_local Closer closer;
    static_cast<void>(closer);
    return kept;
  }
  static bool& closed() {
    thread_local bool value = false;
    return value;
  }
};

/// For std::allocate_shared.
template <typename T>
struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <typename U>
  PoolAllocator(const PoolAllocator<U>&) {}
  T* allocate(size_t count) {
    return static_cast<T*>(count == 1 ? BlockPool<sizeof(T)>::take() : ::operator new(count * sizeof(T)));
  }
  void deallocate(T* memory, size_t count) noexcept {
    count == 1 ? BlockPool<sizeof(T)>::give(memory) : ::operator delete(memory);
  }
  friend bool operator==(const PoolAllocator&, const PoolAllocator&) { return true; }
};

}  // namespace pycnn
