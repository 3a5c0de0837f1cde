// SPDX-License-Identifier: Apache-2.0
// Writes the first inputs of the targets that know the API. Of `validation`: a sound resource of
// each kind with itself, a changed one or nothing as its patch; the others are in api/seeds_api.cc.
// `make_control_seeds FOLDER`, as fuzz_make_seeds.
#include <cstdio>
#include <string>

#include "control/model.h"
#include "tests/fuzz/support/seed_writer.h"

namespace remora::fuzz {
namespace {

namespace opi = opi_api::storage::v1;

class Writer {
  public:
    explicit Writer(SeedWriter& out) : out_(out) {}

    /// Next kind: the order is the target's.
    template <typename M>
    void add(const M& resource, const M& patch, std::string_view path) {
        const std::string name = std::to_string(kind_);
        out_.write("validation", name + "-same", seed(resource, resource, ""));
        out_.write("validation", name + "-mask", seed(resource, patch, path));
        out_.write("validation", name + "-all", seed(resource, patch, "*"));
        ++kind_;
    }
    void text(std::string_view text) {
        out_.write("validation", "text-" + std::to_string(texts_++),
                   Bytes().u8(11).add(std::int32_t{7}).text(text));
    }

  private:
    template <typename M>
    Bytes seed(const M& resource, const M& patch, std::string_view path) const {
        const std::string first = resource.SerializeAsString();
        const std::string second = patch.SerializeAsString();
        Bytes out;
        out.u8(kind_).u16(static_cast<unsigned>(first.size()));
        out.u16(static_cast<unsigned>(second.size())).text(first).text(second);
        return path.empty() ? out : out.text(path).text("\n");
    }

    SeedWriter& out_;
    unsigned kind_ = 0;
    int texts_ = 0;
};

template <typename Volume>
Volume volume_of(std::int64_t blocks) {
    Volume volume;
    volume.set_name("volumes/v0");
    volume.set_block_size(512);
    volume.set_blocks_count(blocks);
    volume.set_uuid("123e4567-e89b-12d3-a456-426614174000");
    return volume;
}

void write_volumes(Writer& writer) {
    writer.add(volume_of<opi::MallocVolume>(8), volume_of<opi::MallocVolume>(16), "blocks_count");
    writer.add(volume_of<opi::NullVolume>(8), volume_of<opi::NullVolume>(9), "uuid");
    auto file = volume_of<opi::AioVolume>(8);
    file.set_filename("/var/lib/v0");
    writer.add(file, volume_of<opi::AioVolume>(16), "filename");
}

void write_nvme(Writer& writer) {
    opi::NvmeSubsystem subsystem;
    subsystem.mutable_spec()->set_nqn("nqn.2026-01.fuzz:sub");
    subsystem.mutable_spec()->set_serial_number("S0");
    subsystem.mutable_spec()->set_model_number("M0");
    subsystem.mutable_spec()->set_max_namespaces(4);
    opi::NvmeSubsystem other = subsystem;
    other.mutable_spec()->set_hostnqn("nqn.2026-01.fuzz:host");
    writer.add(subsystem, other, "spec.hostnqn");

    opi::NvmeController controller;
    controller.mutable_spec()->set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
    controller.mutable_spec()->mutable_fabrics_id()->set_traddr("127.0.0.1");
    controller.mutable_spec()->mutable_fabrics_id()->set_trsvcid("4420");
    controller.mutable_spec()->mutable_fabrics_id()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV4);
    opi::NvmeController six = controller;
    six.mutable_spec()->mutable_fabrics_id()->set_traddr("::1");
    six.mutable_spec()->mutable_fabrics_id()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV6);
    writer.add(controller, six, "spec");

    opi::NvmeNamespace space;
    space.mutable_spec()->set_volume_name_ref("volumes/v0");
    space.mutable_spec()->set_nguid("123e4567e89b12d3a456426614174000");
    space.mutable_spec()->set_host_nsid(3);
    writer.add(space, space, "spec.nguid");

    opi::NvmeRemoteController remote;
    remote.set_multipath(opi::NVME_MULTIPATH_DISABLE);
    remote.mutable_tcp()->set_hdgst(true);
    writer.add(remote, remote, "tcp.hdgst");

    opi::NvmePath path;
    path.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
    path.set_traddr("192.0.2.1");
    path.mutable_fabrics()->set_trsvcid(4420);
    path.mutable_fabrics()->set_subnqn("nqn.2026-01.fuzz:sub");
    path.mutable_fabrics()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV4);
    writer.add(path, path, "fabrics");
}

}  // namespace
}  // namespace remora::fuzz

int main(int argc, char** argv) {
    using namespace remora::fuzz;
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    SeedWriter out(argv[1]);
    Writer writer(out);
    write_volumes(writer);
    write_nvme(writer);
    opi::VirtioBlk disk;
    disk.mutable_pcie_id()->mutable_port_id()->set_value(0);
    disk.mutable_pcie_id()->mutable_physical_function()->set_value(3);
    disk.mutable_pcie_id()->mutable_virtual_function()->set_value(0);
    disk.set_volume_name_ref("volumes/v0");
    writer.add(disk, disk, "pcie_id");
    for (const std::string_view text :
         {"a10", "a9a09", "mallocVolumes/m0", "volumes/v0", "nvmeSubsystems/s/nvmeNamespaces/n",
          "766f6c756d65733a6130", "123e4567-e89b-12d3-a456-426614174000",
          "123e4567e89b12d3a456426614174000", "nqn.2014-08.org.example:x", "192.0.2.1", "4420"}) {
        writer.text(text);
    }
    write_api_seeds(out);
    std::printf("%zu seeds\n", out.count());
    return 0;
}
