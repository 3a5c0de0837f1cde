// SPDX-License-Identifier: Apache-2.0
// InflightMemory: how in-flight regions are read and written. Another process reads them after this
// one's death, at whatever instruction that was, so each store stays where it is in program order.
#pragma once

#include <atomic>
#include <cstddef>

namespace remora::virtio::vhost_user {

class InflightMemory {
  protected:
    template <typename T>
    static T load(const std::byte* at) {
        return __atomic_load_n(reinterpret_cast<const T*>(at), __ATOMIC_RELAXED);
    }
    template <typename T>
    static void store(std::byte* at, T value) {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        __atomic_store_n(reinterpret_cast<T*>(at), value, __ATOMIC_RELAXED);
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
};

}  // namespace remora::virtio::vhost_user
