// SPDX-License-Identifier: Apache-2.0
// Overview: capabilities. The calls are those of the services that the program is built with, read
// from their descriptors; what is not there is named here, and a test asks each call whether that
// is so.
#include <array>

#include <google/protobuf/descriptor.h>

#include "control/overview.h"

namespace remora::control {

using core::Result;

namespace {

struct AbsentService {
    std::string_view service;
    std::string_view reason;
};
constexpr std::array kAbsent{
    AbsentService{"opi_api.storage.v1.FrontendVirtioScsiService",
                  "virtio-scsi is not built; show the volume as a virtio-blk disk"},
};

constexpr std::array kServices{
    "opi_api.storage.v1.AioVolumeService",
    "opi_api.storage.v1.FrontendNvmeService",
    "opi_api.storage.v1.FrontendVirtioBlkService",
    "opi_api.storage.v1.FrontendVirtioScsiService",
    "opi_api.storage.v1.MallocVolumeService",
    "opi_api.storage.v1.MiddleendEncryptionService",
    "opi_api.storage.v1.MiddleendQosVolumeService",
    "opi_api.storage.v1.NullVolumeService",
    "opi_api.storage.v1.NvmeRemoteControllerService",
    "opi_api.inventory.v1.InventoryService",
    "remora.v1.FaultInjectionService",
    "remora.v1.IntegrityService",
    "remora.v1.QosService",
    "remora.v1.RaidService",
    "remora.v1.RemoraService",
};

struct Option {
    const char* name;
    bool supported;
    const char* detail;
};
constexpr std::array kOptions{
    Option{"opi_api.storage.v1.QosVolume.limits.max", true,
           "all six rates, changed live; thousands of I/Os and MiB a second"},
    Option{"opi_api.storage.v1.QosVolume.limits.min", true,
           "all six rates, of the capacity that is declared for the back end; not of arrays"},
    Option{"opi_api.storage.v1.VirtioBlk.max_limit", true, "all six rates, changed live"},
    Option{"opi_api.storage.v1.VirtioBlk.min_limit", true, "as those of a QosVolume"},
    Option{"opi_api.storage.v1.VirtioBlk.max_io_qps", true, "1 to 64 queues; 0: one a core"},
    Option{"opi_api.storage.v1.NvmeControllerSpec.max_limit", true,
           "all six rates, for all namespaces together, changed live"},
    Option{"opi_api.storage.v1.NvmeControllerSpec.min_limit", true,
           "as those of a QosVolume; all namespaces are of one back end"},
    Option{"opi_api.storage.v1.NvmeControllerSpec.pcie_id", true,
           "functions of the local host; QEMU 10.1 or later"},
    Option{"opi_api.storage.v1.NvmeSubsystemSpec.psk", false, "TLS is not built"},
    Option{"opi_api.storage.v1.TcpController.psk", false, "TLS is not built"},
    Option{"opi_api.storage.v1.NvmeRemoteController.multipath", true,
           "up to 8 paths; failover, queue depth, round robin"},
    Option{"opi_api.storage.v1.EncryptedVolume.key", true,
           "write-only, sealed in the store; RekeyVolume changes it"},
    Option{"opi_api.storage.v1.MallocVolume.metadata_size", false,
           "volumes have no metadata beside the data"},
};

/// There are some where remorad is told of places.
constexpr std::array kVirtualFunctions{
    "opi_api.storage.v1.VirtioBlk.pcie_id.virtual_function",
    "opi_api.storage.v1.NvmeControllerSpec.pcie_id.virtual_function",
};

const AbsentService* absence_of(std::string_view service) {
    for (const AbsentService& absent : kAbsent) {
        if (absent.service == service) {
            return &absent;
        }
    }
    return nullptr;
}

/// Of a kind that is not there, asking and deleting are answered as if none had been made.
bool works_without(std::string_view method) {
    return method.starts_with("List") || method.starts_with("Get") || method.starts_with("Delete");
}

}  // namespace

Task<Result<api::Capabilities>> Overview::capabilities(
    const api::GetCapabilitiesRequest& /*request*/) {
    api::Capabilities out;
    out.set_version(context_.options.version);
    out.set_host_platform(std::string(context_.host.kind()));
    const platform::FunctionCounts places = context_.host.function_counts();
    out.set_host_functions(places.physical);
    out.set_host_virtual_functions(places.all_virtual());
    const auto* pool = google::protobuf::DescriptorPool::generated_pool();
    for (const char* name : kServices) {
        const auto* service = pool->FindServiceByName(name);
        for (int i = 0; service != nullptr && i < service->method_count(); ++i) {
            api::CallCapability& call = *out.add_calls();
            call.set_service(name);
            call.set_method(service->method(i)->name());
            const AbsentService* absent = absence_of(name);
            call.set_supported(absent == nullptr || works_without(call.method()));
            if (!call.supported()) {
                call.set_reason(std::string(absent->reason));
            }
        }
    }
    for (const Option& option : kOptions) {
        api::OptionCapability& one = *out.add_options();
        one.set_name(option.name);
        one.set_supported(option.supported);
        one.set_detail(option.detail);
    }
    const bool any_virtual = places.all_virtual() > 0;
    for (const char* name : kVirtualFunctions) {
        api::OptionCapability& one = *out.add_options();
        one.set_name(name);
        one.set_supported(any_virtual);
        one.set_detail(any_virtual ? "those that remorad has places for"
                                   : "remorad was told of no places (--virtual-functions)");
    }
    api::OptionCapability& cipher = *out.add_options();
    cipher.set_name("opi_api.storage.v1.EncryptedVolume.cipher");
    cipher.set_supported(!context_.options.crypt_kernel.empty());
    cipher.set_detail(cipher.supported()
                          ? "AES_XTS_128 and AES_XTS_256, as dm-crypt's aes-xts-plain64; by " +
                                context_.options.crypt_kernel
                          : "no implementation of AES-XTS passed its self-test");
    out.add_front_end_transports("NVMe/TCP");
    out.add_front_end_transports("virtio-blk (vhost-user)");
    out.add_front_end_transports("NVMe (vfio-user)");
    out.add_back_end_transports("NVMe/TCP");
    co_return out;
}

}  // namespace remora::control
